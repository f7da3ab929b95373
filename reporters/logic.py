"""A head of two-input logic gates over thresholds on one level: what it learns is a circuit.

N: episodes, D: width, B: thresholds, G: gates, W: gates of a layer, P: places (thresholds, then
gates), F: the 16 functions of two bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from console.errors import UserError
from reporters.circuits.circuit import Circuit, Gate, Threshold
from reporters.circuits.wiring import reads, says
from reporters.reporter import Reading, Reporter, in_one_step
from reporters.stack import Weights

SURE = 1e4
"""Log-odds of a choice that has been made: all others have probability 0, exactly."""
SAYS_F4 = torch.tensor(
    [[says(function, a, b) for a in (False, True) for b in (False, True)] for function in range(16)]
)
READS_F2 = torch.tensor([reads(function) for function in range(16)])
WIRE = 12
"""The function that says what its first operand says."""


class Logic(Reporter):
    """Thresholds, layers of gates, one output; log-odds = no + (yes - no) · output.

    After Petersen et al. (2022), "Deep differentiable logic gate networks": each gate has a softmax
    over the 16 functions of two bits, read as the polynomials that agree with them on bits. Here it
    also chooses its operands among all thresholds and all gates of earlier layers, so the head is
    one circuit with one output and not a count of many. A threshold reads one activation, the
    likeliest of its choice; gradients of that choice go through its softmax, those of the step
    through a sigmoid (straight through: Bengio, Léonard and Courville 2013). A mixture of
    activations would be a linear head, and a soft step would carry more than a bit: both would be
    lost when the choices are made. Every choice begins with random preferences, and each gate
    prefers to pass its first operand on.

    Args:
        thresholds: B.
        layers: of gates.
        nodes: gates of a layer, W.
        pace: log-odds of a choice per unit of its parameter: how much faster than other parameters
            choices are made.
        spread: standard deviation of a choice's log-odds at the start.
        wire: what is added at the start to the log-odds that a gate is a wire.
        steepness: of the sigmoid through which the gradient of a step goes, per standard deviation.
        says: log-odds that it begins to say, for yes; no is its opposite.
    """

    reads: ClassVar[Literal["one_level", "all_levels"]] = "one_level"

    def __init__(
        self,
        n_levels: int,
        width: int,
        thresholds: int,
        layers: int,
        nodes: int,
        pace: float,
        spread: float,
        wire: float,
        steepness: float,
        says: float,
    ) -> None:
        super().__init__()
        for key, value in {"thresholds": thresholds, "layers": layers, "nodes": nodes}.items():
            if value < 1:
                raise UserError(f"reporter.{key}: {value} is too small. Use 1 or more.")
        for key, size in {"pace": pace, "steepness": steepness}.items():
            if size <= 0:
                raise UserError(f"reporter.{key}: {size} is too small. Use a number above 0.")
        gates = layers * nodes
        self.layers, self.nodes, self.pace, self.steepness = layers, nodes, pace, steepness
        self.input_choice_BD = nn.Parameter(
            torch.randn(thresholds, n_levels * width) * spread / pace
        )
        self.threshold_bias_B = nn.Parameter(torch.randn(thresholds) / 2)
        self.operand_choice_2GP = nn.Parameter(
            torch.randn(2, gates, thresholds + gates) * spread / pace
        )
        prefers_F = wire * (torch.arange(16) == WIRE)
        self.function_choice_GF = nn.Parameter((torch.randn(gates, 16) * spread + prefers_F) / pace)
        self.output_choice_P = nn.Parameter(torch.randn(thresholds + gates) * spread / pace)
        self.output_bias_2 = nn.Parameter(torch.tensor([-says, says]))

    def forward(self, z_NLD: Tensor) -> Reading:
        bits_PN = self._bits(z_NLD.flatten(1))
        says_G4 = (self._chance(self.function_choice_GF)[:, :, None] * SAYS_F4.to(z_NLD)).sum(dim=1)
        for layer in range(self.layers):
            here, before = self._layer(layer), len(bits_PN)
            a_WN, b_WN = (
                self._chance(choice_GP[here, :before]) @ bits_PN
                for choice_GP in self.operand_choice_2GP
            )
            none_W, b_W, a_W, both_W = says_G4[here, :, None].unbind(dim=1)
            gate_WN = (
                none_W
                + (a_W - none_W) * a_WN
                + (b_W - none_W) * b_WN
                + (both_W - a_W - b_W + none_W) * a_WN * b_WN
            )
            bits_PN = torch.cat([bits_PN, gate_WN])
        output_N = (self._chance(self.output_choice_P)[None] @ bits_PN)[0]
        no, yes = self.output_bias_2
        return in_one_step(no + (yes - no) * output_N, z_NLD.shape[1])

    def flops(self, units: Mapping[str, Any]) -> list[Any]:
        """Counts the products by which operands are looked up, as a head in training does; a
        finished circuit needs none of them.
        """
        thresholds, gates = units["B"], units["G"]
        operands = gates * thresholds + gates * gates * (self.layers - 1) / self.layers / 2
        return [2 * units["B"] * units["D"] + 4 * operands + 2 * units["P"]]

    def harden(self, weights: Weights) -> Weights:
        """Returns weights with every choice made: the likeliest."""
        masked = weights | {"operand_choice_2GP": self._earlier(weights["operand_choice_2GP"])}
        return {
            name: SURE * (2 * _likeliest(value) - 1) if "_choice" in name else value
            for name, value in masked.items()
        }

    def circuit(self, weights: Weights) -> Circuit:
        """Returns whether a head with its choices made says the higher of its two log-odds, as a
        circuit of all its gates.
        """
        place_B, function_G = (
            weights[name].argmax(dim=-1).tolist()
            for name in ("input_choice_BD", "function_choice_GF")
        )
        a_G, b_G = self._earlier(weights["operand_choice_2GP"]).argmax(dim=-1).tolist()
        inputs = tuple(
            Threshold(place, value)
            for place, value in zip(place_B, weights["threshold_bias_B"].tolist(), strict=True)
        )
        no, yes = weights["output_bias_2"].tolist()
        return Circuit(
            inputs,
            tuple(map(Gate, function_G, a_G, b_G)),
            int(weights["output_choice_P"].argmax()),
            negated=yes < no,
        )

    def expected_gates(self, weights: Weights) -> Tensor:
        """Returns how many live two-input gates are expected; exact where all choices are made,
        before common parts are shared.
        """
        _, _, both_G = self._operands_read(weights)
        return (self._live(weights)[weights["threshold_bias_B"].shape[0] :] * both_G).sum()

    def expected_thresholds(self, weights: Weights) -> Tensor:
        """Returns how many live thresholds are expected; exact where all choices are made, before
        equal ones are shared.
        """
        return self._live(weights)[: weights["threshold_bias_B"].shape[0]].sum()

    def expected_depth(self, weights: Weights) -> Tensor:
        """Returns how many gates the longest path to the output is expected to have; exact where
        all choices are made.
        """
        depth_P = torch.zeros_like(weights["threshold_bias_B"])
        a_G, b_G, both_G = self._operands_read(weights)
        for layer in range(self.layers):
            here, before = self._layer(layer), len(depth_P)
            a_W, b_W = self._chance(weights["operand_choice_2GP"][:, here, :before]) @ depth_P
            depth_W = (
                a_G[here] * a_W + b_G[here] * b_W + both_G[here] * (1 + torch.maximum(a_W, b_W))
            )
            depth_P = torch.cat([depth_P, depth_W])
        return self._chance(weights["output_choice_P"]) @ depth_P

    def _live(self, weights: Weights) -> Tensor:
        """Returns with what probability the output depends on each place by the wiring.

        live(p) = 1 - Π over its users u of 1 - live(u) P(u reads p); the output itself is one of
        the users.
        """
        dead_P = 1 - self._chance(weights["output_choice_P"])
        a_G, b_G, both_G = (chance_G[:, None] for chance_G in self._operands_read(weights))
        for layer in reversed(range(self.layers)):
            here = self._layer(layer)
            before = len(weights["threshold_bias_B"]) + here.start
            a_WP, b_WP = self._chance(weights["operand_choice_2GP"][:, here, :before])
            reads_WP = (
                a_G[here] * a_WP + b_G[here] * b_WP + both_G[here] * (1 - (1 - a_WP) * (1 - b_WP))
            )
            live_W = 1 - dead_P[before : before + self.nodes]
            dead_P = torch.cat(
                [dead_P[:before] * (1 - live_W[:, None] * reads_WP).prod(dim=0), dead_P[before:]]
            )
        return 1 - dead_P

    def _operands_read(self, weights: Weights) -> tuple[Tensor, ...]:
        """Returns with what probability each gate reads only its operand a, only b, and both: three
        of shape (G,).
        """
        chance_GF = self._chance(weights["function_choice_GF"])
        a_F, b_F = READS_F2.to(chance_GF).unbind(dim=1)
        return tuple(chance_GF @ kind_F for kind_F in (a_F * (1 - b_F), (1 - a_F) * b_F, a_F * b_F))

    def _bits(self, z_ND: Tensor) -> Tensor:
        """Returns the thresholds' bits, shape (B, N); exact, with the gradients of soft ones."""
        chance_BD = self._chance(self.input_choice_BD)
        read_BD = _likeliest(self.input_choice_BD) + chance_BD - chance_BD.detach()
        above_BN = read_BD @ z_ND.T - self.threshold_bias_B[:, None]
        soft_BN = torch.sigmoid(self.steepness * above_BN)
        return (above_BN > 0).to(soft_BN) + soft_BN - soft_BN.detach()

    def _chance(self, choice: Tensor) -> Tensor:
        return torch.softmax(self.pace * choice, dim=-1)

    def _layer(self, layer: int) -> slice:
        return slice(layer * self.nodes, (layer + 1) * self.nodes)

    def _earlier(self, choice_2GP: Tensor) -> Tensor:
        """Returns the choices with no chance left for places that are not earlier than the gate's
        layer.
        """
        gates, places = choice_2GP.shape[-2:]
        first_G = (
            places
            - gates
            + torch.arange(gates, device=choice_2GP.device) // self.nodes * self.nodes
        )
        return torch.where(
            torch.arange(places, device=choice_2GP.device) < first_G[:, None],
            choice_2GP,
            -torch.inf,
        )


def _likeliest(choice: Tensor) -> Tensor:
    """Returns 1 for the likeliest of each choice and 0 for the rest."""
    return (
        torch.arange(choice.shape[-1], device=choice.device) == choice.argmax(dim=-1, keepdim=True)
    ).to(choice)
