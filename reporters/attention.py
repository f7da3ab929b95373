"""A head that looks at the levels again and again, each time where the last look sends it, and
learns when it has seen enough.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from reporters.reporter import Reading, Reporter, halting

REPLACES = 2.0
"""Where the gates of the state begin, in nats of log-odds: most of the state is replaced at every
step, so that the last look counts most.
"""


class Attention(Reporter):
    """A recurrent attention head: what it saw last asks, the levels answer, a gate decides how much
    of its state the answer replaces.

    The same weights at every step and biases of its own for each, as in the Universal Transformer
    (Dehghani et al. 2019); halting as in PonderNet (Banino, Balaguer and Blundell 2021), the last
    step always stops. A level becomes a token, which is key and content alike, with a bias by which
    levels can be told apart. The mean of all tokens and a bias ask for the first look; each step
    has a bias of its own, so that what the first look seeks does not hold those after it. It begins
    with the same chance of stopping at every step, and what halts is divided by √H, so that the
    first steps of training are gentle. Every step has read all the levels given. N: episodes, L:
    levels, D: width, A: units of a token and of a query, H: units of the state, T: steps (and
    exits).

    Args:
        hidden: units of the state, and of a token.
        steps: most steps it takes.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "all_levels"

    def __init__(self, n_levels: int, width: int, hidden: int, steps: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.token_AD = nn.Parameter(torch.randn(hidden, width) * width**-0.5)
        self.level_bias_LD = nn.Parameter(torch.zeros(n_levels, width))
        self.query_AA = nn.Parameter(torch.randn(hidden, hidden) * hidden**-0.5)
        self.new_HA, self.gate_HA = (
            nn.Parameter(torch.randn(hidden, hidden) * hidden**-0.5) for _ in range(2)
        )
        self.new_HH, self.gate_HH = (
            nn.Parameter(torch.randn(hidden, hidden) * hidden**-0.5) for _ in range(2)
        )
        self.says_2H = nn.Parameter(torch.randn(2, hidden) * hidden**-0.5)
        self.query_bias_TA = nn.Parameter(torch.zeros(steps, hidden))
        self.new_bias_TH = nn.Parameter(torch.zeros(steps, hidden))
        self.gate_bias_TH = nn.Parameter(torch.full((steps, hidden), REPLACES))
        even_T = torch.tensor([-math.log(max(steps - step - 1, 1)) for step in range(steps)])
        self.says_bias_2T = nn.Parameter(torch.stack([torch.zeros(steps), even_T]))

    def forward(self, z_NLD: Tensor) -> Reading:
        n, n_levels = z_NLD.shape[:2]
        token_NLA = (self.token_AD @ (z_NLD + self.level_bias_LD).flatten(0, 1).T).T.unflatten(
            0, (n, n_levels)
        )
        seen_AN, state_HN, said = (
            token_NLA.mean(dim=1).T,
            z_NLD.new_zeros(self.says_2H.shape[1], n),
            [],
        )
        for query_bias_A, new_bias_H, gate_bias_H in zip(
            self.query_bias_TA, self.new_bias_TH, self.gate_bias_TH, strict=True
        ):
            query_AN = self.query_AA @ seen_AN + query_bias_A[:, None]
            look_NL1 = (token_NLA @ query_AN.T.unsqueeze(2) * self.hidden**-0.5).softmax(dim=1)
            seen_AN = (token_NLA.mT @ look_NL1).squeeze(2).T
            new_HN = torch.tanh(
                self.new_HA @ seen_AN + self.new_HH @ state_HN + new_bias_H[:, None]
            )
            gate_HN = torch.sigmoid(
                self.gate_HA @ seen_AN + self.gate_HH @ state_HN + gate_bias_H[:, None]
            )
            state_HN = state_HN + gate_HN * (new_HN - state_HN)
            said.append(self.says_2H @ state_HN)
        log_odds_TN, stop_TN = torch.stack(said, dim=1)
        halt_NT = halting(stop_TN.T * self.hidden**-0.5 + self.says_bias_2T[1])
        return Reading(
            log_odds_TN.T + self.says_bias_2T[0], halt_NT, z_NLD.new_full((len(said),), n_levels)
        )

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        n_levels, width, a, h = (units[letter] for letter in "LDAH")
        once = 2 * n_levels * width * a
        step = 2 * a * a + 4 * n_levels * a + 4 * h * a + 4 * h * h + 4 * h
        return [once + step * t for t in range(1, len(self.new_bias_TH) + 1)]
