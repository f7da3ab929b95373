"""A head that attends to the levels several times, each time with a query that depends on the last
result, and learns when to stop.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from console.ranges import Range
from reporters.reporter import Reading, Reporter, compute_even_halting, compute_halting

REPLACES = 2.0
"""The initial bias of the state's gates, in nats of log-odds: each step replaces most of the state,
so that the last step counts most.
"""


class Attention(Reporter):
    """A recurrent attention head. At each step the last result becomes a query, the levels are its
    keys and values, and a gate decides how much of the state the new result replaces.

    All steps share their weights, and each step has biases of its own, as in the Universal
    Transformer (Dehghani et al. 2019). Halting as in PonderNet (Banino, Balaguer and Blundell
    2021): the last step always stops.

    A level becomes a token, which is both key and value, with a bias that identifies the level. The
    first query comes from the mean of all tokens and a bias. Later queries have other biases, so
    they need not look for what the first one found.

    At the start every step has the same probability of stopping. The stopping log-odds are divided
    by √H, so that the first steps of training change them little. Every exit has read all levels.
    N: episodes, L: levels, D: width, A: units of a token and of a query, H: units of the state, T:
    steps (and exits).

    Args:
        hidden: units of the state, and of a token.
        steps: the largest number of steps.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "all_levels"

    def __init__(
        self,
        n_levels: int,
        width: int,
        hidden: Annotated[int, Range(1, 4096)],
        steps: Annotated[int, Range(1, 1024)],
    ) -> None:
        super().__init__()

        def draw_square() -> nn.Parameter:
            return nn.Parameter(torch.randn(hidden, hidden) * hidden**-0.5)

        self.hidden = hidden
        self.token_AD = nn.Parameter(torch.randn(hidden, width) * width**-0.5)
        self.level_bias_LD = nn.Parameter(torch.zeros(n_levels, width))
        self.query_AA = draw_square()
        self.new_HA = draw_square()
        self.gate_HA = draw_square()
        self.new_HH = draw_square()
        self.gate_HH = draw_square()
        self.says_2H = nn.Parameter(torch.randn(2, hidden) * hidden**-0.5)
        self.query_bias_TA = nn.Parameter(torch.zeros(steps, hidden))
        self.new_bias_TH = nn.Parameter(torch.zeros(steps, hidden))
        self.gate_bias_TH = nn.Parameter(torch.full((steps, hidden), REPLACES))
        self.says_bias_2T = nn.Parameter(
            torch.stack([torch.zeros(steps), compute_even_halting(steps)])
        )

    def forward(self, z_NLD: Tensor) -> Reading:
        n, n_levels = z_NLD.shape[:2]
        biased_ND = (z_NLD + self.level_bias_LD).flatten(0, 1)
        token_NLA = (self.token_AD @ biased_ND.T).T.unflatten(0, (n, n_levels))
        result_AN = token_NLA.mean(dim=1).T
        state_HN = z_NLD.new_zeros(self.says_2H.shape[1], n)
        outputs = []
        biases = zip(self.query_bias_TA, self.new_bias_TH, self.gate_bias_TH, strict=True)
        for query_bias_A, new_bias_H, gate_bias_H in biases:
            query_AN = self.query_AA @ result_AN + query_bias_A[:, None]
            score_NL1 = token_NLA @ query_AN.T.unsqueeze(2) * self.hidden**-0.5
            result_AN = (token_NLA.mT @ score_NL1.softmax(dim=1)).squeeze(2).T
            new_HN = torch.tanh(
                self.new_HA @ result_AN + self.new_HH @ state_HN + new_bias_H[:, None]
            )
            gate_HN = torch.sigmoid(
                self.gate_HA @ result_AN + self.gate_HH @ state_HN + gate_bias_H[:, None]
            )
            state_HN = state_HN + gate_HN * (new_HN - state_HN)
            outputs.append(self.says_2H @ state_HN)
        log_odds_TN, stop_TN = torch.stack(outputs, dim=1)
        halt_NT = compute_halting(stop_TN.T * self.hidden**-0.5 + self.says_bias_2T[1])
        levels_T = z_NLD.new_full((len(outputs),), n_levels)
        return Reading(log_odds_TN.T + self.says_bias_2T[0], halt_NT, levels_T)

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        n_levels, width, a, h = (units[letter] for letter in "LDAH")
        tokens = 2 * n_levels * width * a
        step = 2 * a * a + 4 * n_levels * a + 4 * h * a + 4 * h * h + 4 * h
        return [tokens + step * t for t in range(1, len(self.new_bias_TH) + 1)]
