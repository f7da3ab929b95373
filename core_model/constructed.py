"""A predictor of the ladder that is built by hand: at which level, over how many coordinates and
with which amplitude it holds X and H is known exactly. Nothing is trained.

D: width, R: rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from torch import Tensor

from compute.trainer import Trainer
from console.errors import UserError
from console.ranges import Count, Positive, Range, Seed
from core_model.constructed_network import ChainPlan, ConstructedNetwork, Stream, lay_out_stream
from core_model.ladder_predictor import LadderPredictor
from core_model.predictor import CoreModel
from worlds.ladder import Ladder
from worlds.world import World


@dataclass(frozen=True)
class Circuit:
    """The circuit that the blocks compute: its gates are products of two bits (XOR)."""

    gates: int
    edges: int
    """Inputs of gates."""
    depth: int
    """Gates on the longest path from a bit to an output."""
    flops: tuple[int, ...]
    """FLOPs an episode to reach each level."""


class ConstructedPredictor(LadderPredictor):
    """The network that is built by hand, and where it holds X and H."""

    keeps_scale = True

    def __init__(self, network: ConstructedNetwork, stream: Stream, world: Ladder) -> None:
        super().__init__(network, world)
        self.stream = stream

    def known_subspaces(self, level: int) -> tuple[Tensor, Tensor]:
        """Returns bases of all that X, and H, depends on at a level: the code of each chain, and
        the bits that are still to be multiplied in. Exchanging one exchanges X, or H, exactly.
        """
        return self.stream.concept.find_subspace(level), self.stream.human.find_subspace(level)

    def read_known_product(self, level: int, z_ND: Tensor) -> Tensor | None:
        read_CD = self.stream.concept.read_CD
        if len(read_CD) == 1:
            return None
        return (z_ND @ read_CD.T.to(z_ND)).prod(dim=1)

    def describe_circuit(self) -> Circuit:
        """Returns the circuit that completes every chain of X, and of H if it is stored.

        If there are several chains, their product is no gate of it: no level holds that.
        """
        both = (self.stream.concept, self.stream.human)
        gates = sum(len(chains.code_CD) * chains.products for chains in both)
        flops = tuple(int(count) for count in self.compute_flops())
        return Circuit(gates, 2 * gates, max(chains.products for chains in both), flops)


@dataclass(frozen=True)
class Constructed(CoreModel):
    """A residual ReLU network that multiplies one bit a block into each chain of the ladder.

    The embedding is a change of basis, so the width is `world.bits`. A code holds a chain's product
    r times its amplitude, along a direction with the same share in each of the code's coordinates;
    unrelated bits of amplitude 1 hold the other directions, so that nobody can read r exactly
    without all of the coordinates. At level 0 r is the chain's first bit, and block l multiplies
    bit l + 1 into it: X is the product of the codes from level `world.concept_level` on, and H from
    level `world.human_level` on, if the world stores it. If not, its sensors stay as they are.

    Level 0 costs 2 D² FLOPs. A block costs 4 D for each of its hidden units, of which it has four
    for each chain that it multiplies; where it multiplies none it costs nothing. The price
    of a step, which priors on compute divide by, is that of level 1: the embedding and one block.

    Args:
        concept_width: coordinates of the code of each chain of X.
        human_width: coordinates of the code of each chain of H.
        concept_amplitude: amplitude of X's product; unrelated bits have 1.
        human_amplitude: amplitude of H's.
        blocks: there is one level more; null is as many as complete every chain, at least 1.
        seed: of the order of the coordinates and the directions of the codes.
    """

    concept_width: Count
    human_width: Count
    concept_amplitude: Positive
    human_amplitude: Positive
    blocks: Annotated[int, Range(1, 1000)] | None
    seed: Seed

    def count_levels(self) -> int | None:
        return None if self.blocks is None else self.blocks + 1

    def predictor(self, world: World, cache: Path, trainer: Trainer) -> ConstructedPredictor:
        if not isinstance(world, Ladder):
            raise UserError(
                f"core_model: constructed is built for the bits of the ladder, and {world.name} has"
                " none. Use world=ladder, or core_model=transformer."
            )
        blocks = self._count_blocks(world)
        concept = ChainPlan(world.concept_chains, self.concept_width, self.concept_amplitude, True)
        human = ChainPlan(
            world.human_chains, self.human_width, self.human_amplitude, world.stores_human
        )
        needed = concept.count_coordinates() + human.count_coordinates()
        if needed > world.bits:
            raise UserError(
                f"core_model.concept_width: {self.concept_width}, with a human_width of"
                f" {self.human_width}, needs {needed} bits, and the world has {world.bits}. Use"
                f" world.bits={needed}, or narrower codes."
            )
        rng = np.random.default_rng(self.seed)
        stream = lay_out_stream(concept, human, world.bits, rng)
        network = ConstructedNetwork(stream, blocks).to(trainer.device)
        return ConstructedPredictor(network, stream, world)

    def _count_blocks(self, world: Ladder) -> int:
        """Returns the number of blocks.

        Raises:
            UserError: they do not complete every chain.
        """
        if self.blocks is None:
            return max(world.concept_level, world.human_level, 1)
        needed = {"X": world.concept_level}
        if world.stores_human:
            needed["H"] = world.human_level
        for variable, level in needed.items():
            if self.blocks < level:
                raise UserError(
                    f"core_model.blocks: {self.blocks} leave {variable} unreadable, which takes"
                    f" {level} products. Use {level} or more, or null."
                )
        return self.blocks
