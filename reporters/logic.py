"""A head of two-input logic gates over thresholds on one level; it learns a circuit.

N: episodes, D: width, B: thresholds, G: gates, W: gates of a layer, P: places (thresholds, then
gates), F: the 16 functions of two bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from console.errors import UserError
from console.ranges import Positive, Range
from reporters.circuits.circuit import Circuit, Gate, Threshold
from reporters.circuits.wiring import ROWS, depends_on, evaluate
from reporters.reporter import Reading, Reporter, build_single_exit_reading, is_choice
from reporters.stack import Weights

SURE = 1e4
"""Log-odds of a choice that has been made: all other options have probability 0, exactly."""
VALUE_F4 = torch.tensor([[evaluate(function, *row) for row in ROWS] for function in range(16)])
"""The value of each function in each row of its truth table."""
DEPENDS_F2 = torch.tensor([depends_on(function) for function in range(16)])
"""Whether each function depends on each of its operands."""
WIRE = 12
"""The function that returns its first operand."""


class Logic(Reporter):
    """Thresholds, layers of gates, and one output; log-odds = no + (yes - no) · output.

    After Petersen et al. (2022), "Deep differentiable logic gate networks": each gate has a softmax
    over the 16 functions of two bits, extended to probabilities as the polynomials that agree with
    them on bits. Here a gate also chooses its operands among all thresholds and all gates of
    earlier layers, so the head is one circuit with one output, and not the count of many outputs.

    A threshold reads one activation, the likeliest of its choice. The gradient of that choice goes
    through its softmax, and the gradient of the step through a sigmoid (straight through: Bengio,
    Léonard and Courville 2013). A mixture of activations would be a linear head, and a soft step
    would carry more than one bit: both would be lost when the choices are made.

    Every choice starts with random preferences, and each gate prefers to pass its first operand on.

    Args:
        thresholds: B.
        layers: the number of layers of gates.
        nodes: the number of gates of a layer, W.
        pace: log-odds of a choice per unit of its parameter, so that choices are made this much
            faster than other parameters change.
        spread: standard deviation of a choice's log-odds at the start.
        wire: what is added at the start to the log-odds that a gate is a wire.
        steepness: of the sigmoid that carries the gradient of a step, per standard deviation.
        says: the head's log-odds for yes at the start; those for no are the opposite.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(
        self,
        n_levels: int,
        width: int,
        thresholds: Annotated[int, Range(1, 4096)],
        layers: Annotated[int, Range(1, 4096)],
        nodes: Annotated[int, Range(1, 4096)],
        pace: Positive,
        spread: Annotated[float, Range(0, 100)],
        wire: Annotated[float, Range(-100, 100)],
        steepness: Positive,
        says: Annotated[float, Range(-100, 100)],
    ) -> None:
        super().__init__()
        for key, value in {"thresholds": thresholds, "layers": layers, "nodes": nodes}.items():
            if value < 1:
                raise UserError(f"reporter.{key}: {value} is too small. Use 1 or more.")
        for key, size in {"pace": pace, "steepness": steepness}.items():
            if size <= 0:
                raise UserError(f"reporter.{key}: {size} is too small. Use a number above 0.")
        n_gates = layers * nodes
        n_places = thresholds + n_gates
        self.layers = layers
        self.nodes = nodes
        self.pace = pace
        self.steepness = steepness

        def draw_choice(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.randn(shape) * spread / pace)

        self.input_choice_BD = draw_choice(thresholds, n_levels * width)
        self.threshold_bias_B = nn.Parameter(torch.randn(thresholds) / 2)
        self.operand_choice_2GP = draw_choice(2, n_gates, n_places)
        prefers_F = wire * (torch.arange(16) == WIRE)
        function_GF = torch.randn(n_gates, 16) * spread + prefers_F
        self.function_choice_GF = nn.Parameter(function_GF / pace)
        self.output_choice_P = draw_choice(n_places)
        self.output_bias_2 = nn.Parameter(torch.tensor([-says, says]))

    def forward(self, z_NLD: Tensor) -> Reading:
        bits_PN = self._compute_bits(z_NLD.flatten(1))
        function_GF = self._softmax(self.function_choice_GF)
        value_G4 = (function_GF[:, :, None] * VALUE_F4.to(z_NLD)).sum(dim=1)
        for layer in range(self.layers):
            gates, n_earlier = self._get_slice(layer), len(bits_PN)
            a_WP, b_WP = (
                self._softmax(choice_GP[gates, :n_earlier]) for choice_GP in self.operand_choice_2GP
            )
            a_WN, b_WN = a_WP @ bits_PN, b_WP @ bits_PN
            none_W, b_W, a_W, both_W = value_G4[gates, :, None].unbind(dim=1)
            gate_WN = (
                none_W
                + (a_W - none_W) * a_WN
                + (b_W - none_W) * b_WN
                + (both_W - a_W - b_W + none_W) * a_WN * b_WN
            )
            bits_PN = torch.cat([bits_PN, gate_WN])
        output_N = (self._softmax(self.output_choice_P)[None] @ bits_PN)[0]
        no, yes = self.output_bias_2
        return build_single_exit_reading(no + (yes - no) * output_N, z_NLD.shape[1])

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        """Counts the products that look up operands, as a head in training does; a finished circuit
        needs none of them.
        """
        thresholds, gates = units["B"], units["G"]
        operands = gates * thresholds + gates * gates * (self.layers - 1) / self.layers / 2
        return [2 * units["B"] * units["D"] + 4 * operands + 2 * units["P"]]

    def harden(self, weights: Weights) -> Weights:
        """Returns weights in which every choice is made: the likeliest option."""
        hard = dict(weights)
        hard["operand_choice_2GP"] = self._mask_later(weights["operand_choice_2GP"])
        for name, value in hard.items():
            if is_choice(name):
                hard[name] = SURE * (2 * _select_likeliest(value) - 1)
        return hard

    def circuit(self, weights: Weights) -> Circuit:
        """Returns the circuit, with all its gates, of a head whose choices are made. Its output is
        whether the head reports the higher of its two log-odds.
        """
        places = weights["input_choice_BD"].argmax(dim=-1).tolist()
        values = weights["threshold_bias_B"].tolist()
        functions = weights["function_choice_GF"].argmax(dim=-1).tolist()
        a_G, b_G = self._mask_later(weights["operand_choice_2GP"]).argmax(dim=-1).tolist()
        no, yes = weights["output_bias_2"].tolist()
        return Circuit(
            inputs=tuple(map(Threshold, places, values)),
            nodes=tuple(map(Gate, functions, a_G, b_G)),
            output=int(weights["output_choice_P"].argmax()),
            negated=yes < no,
        )

    def expected_gates(self, weights: Weights) -> Tensor:
        """Returns the expected number of live two-input gates. It is exact if all choices are made,
        before common parts are shared.
        """
        n_thresholds = weights["threshold_bias_B"].shape[0]
        _, _, both_G = self._compute_operand_use(weights)
        return (self._compute_live(weights)[n_thresholds:] * both_G).sum()

    def expected_thresholds(self, weights: Weights) -> Tensor:
        """Returns the expected number of live thresholds. It is exact if all choices are made,
        before equal thresholds are shared.
        """
        n_thresholds = weights["threshold_bias_B"].shape[0]
        return self._compute_live(weights)[:n_thresholds].sum()

    def expected_depth(self, weights: Weights) -> Tensor:
        """Returns the expected number of gates on the longest path to the output. It is exact if
        all choices are made.
        """
        depth_P = torch.zeros_like(weights["threshold_bias_B"])
        only_a_G, only_b_G, both_G = self._compute_operand_use(weights)
        for layer in range(self.layers):
            gates, n_earlier = self._get_slice(layer), len(depth_P)
            choice_2WP = weights["operand_choice_2GP"][:, gates, :n_earlier]
            a_W, b_W = self._softmax(choice_2WP) @ depth_P
            depth_W = (
                only_a_G[gates] * a_W
                + only_b_G[gates] * b_W
                + both_G[gates] * (1 + torch.maximum(a_W, b_W))
            )
            depth_P = torch.cat([depth_P, depth_W])
        return self._softmax(weights["output_choice_P"]) @ depth_P

    def _compute_live(self, weights: Weights) -> Tensor:
        """Returns the probability that the output depends on each place through the wiring.

        live(p) = 1 - Π over its users u of 1 - live(u) P(u reads p); the output itself is one of
        the users.
        """
        dead_P = 1 - self._softmax(weights["output_choice_P"])
        only_a_G, only_b_G, both_G = (
            use_G[:, None] for use_G in self._compute_operand_use(weights)
        )
        for layer in reversed(range(self.layers)):
            gates = self._get_slice(layer)
            n_earlier = len(weights["threshold_bias_B"]) + gates.start
            choice_2WP = weights["operand_choice_2GP"][:, gates, :n_earlier]
            a_WP, b_WP = self._softmax(choice_2WP)
            reads_WP = (
                only_a_G[gates] * a_WP
                + only_b_G[gates] * b_WP
                + both_G[gates] * (1 - (1 - a_WP) * (1 - b_WP))
            )
            live_W = 1 - dead_P[n_earlier : n_earlier + self.nodes]
            unread_P = (1 - live_W[:, None] * reads_WP).prod(dim=0)
            dead_P = torch.cat([dead_P[:n_earlier] * unread_P, dead_P[n_earlier:]])
        return 1 - dead_P

    def _compute_operand_use(self, weights: Weights) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the probability that each gate reads only its operand a, only b, and both; each
        of shape (G,).
        """
        chance_GF = self._softmax(weights["function_choice_GF"])
        a_F, b_F = DEPENDS_F2.to(chance_GF).unbind(dim=1)
        only_a_G = chance_GF @ (a_F * (1 - b_F))
        only_b_G = chance_GF @ ((1 - a_F) * b_F)
        both_G = chance_GF @ (a_F * b_F)
        return only_a_G, only_b_G, both_G

    def _compute_bits(self, z_ND: Tensor) -> Tensor:
        """Returns the thresholds' bits, shape (B, N). The bits are exact, and their gradients are
        those of soft bits.
        """
        chance_BD = self._softmax(self.input_choice_BD)
        read_BD = _select_likeliest(self.input_choice_BD) + chance_BD - chance_BD.detach()
        above_BN = read_BD @ z_ND.T - self.threshold_bias_B[:, None]
        soft_BN = torch.sigmoid(self.steepness * above_BN)
        return (above_BN > 0).to(soft_BN) + soft_BN - soft_BN.detach()

    def _softmax(self, choice: Tensor) -> Tensor:
        return torch.softmax(self.pace * choice, dim=-1)

    def _get_slice(self, layer: int) -> slice:
        return slice(layer * self.nodes, (layer + 1) * self.nodes)

    def _mask_later(self, choice_2GP: Tensor) -> Tensor:
        """Returns the choices without the places that are not earlier than the gate's layer: their
        log-odds become -inf.
        """
        n_gates, n_places = choice_2GP.shape[-2:]
        place_P = torch.arange(n_places, device=choice_2GP.device)
        layer_G = torch.arange(n_gates, device=choice_2GP.device) // self.nodes
        n_earlier_G = n_places - n_gates + layer_G * self.nodes
        return torch.where(place_P < n_earlier_G[:, None], choice_2GP, -torch.inf)


def _select_likeliest(choice: Tensor) -> Tensor:
    """Returns 1 for the likeliest option of each choice, and 0 for the rest."""
    options = torch.arange(choice.shape[-1], device=choice.device)
    return (options == choice.argmax(dim=-1, keepdim=True)).to(choice)
