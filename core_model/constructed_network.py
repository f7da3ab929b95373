"""The network that is built by hand for the ladder: each block multiplies one more bit into each
chain, exactly.

N: episodes, I: bits, D: width, which is the number of bits; C: chains of X, or of H; P: pending
bits of a chain; M: coordinates of a code; H: hidden units; R: rank.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core_model.ladder_network import LadderBlock, LadderNetwork
from core_model.predictor import Opinions

CERTAIN = 10.0
"""Log-odds of an opinion, in nats."""

Floats = NDArray[np.float64]
Positions = NDArray[np.intp]


@dataclass(frozen=True)
class ChainPlan:
    """How the stream is to hold the chains of X, or of H.

    Args:
        positions_CI: the positions of the bits of each chain.
        width: coordinates of a code, M.
        amplitude: amplitude of the product in it.
        is_completed: whether the blocks multiply the bits.
    """

    positions_CI: Positions
    width: int
    amplitude: float
    is_completed: bool

    def count_coordinates(self) -> int:
        """Returns the number of coordinates of all codes and pending bits."""
        chains, length = self.positions_CI.shape
        return chains * (self.width + length - 1)


@dataclass(frozen=True)
class Chains:
    """Where the stream holds the chains of X, or of H.

    Each has a code: a direction along which the product of its first bits lies. Each further bit of
    the chain is pending: it has a coordinate of its own, and a block multiplies it into the product
    unless the chain is not completed.
    """

    amplitude: float
    code_CD: Tensor
    """Unit vectors."""
    pending_CPD: Tensor
    """Unit vectors of the coordinates."""
    is_completed: bool

    @property
    def read_CD(self) -> Tensor:
        """The weights that read the product of each chain."""
        return self.code_CD / self.amplitude

    @property
    def write_CD(self) -> Tensor:
        """What is added to the stream for the product to rise by 1."""
        return self.code_CD * self.amplitude

    @property
    def products(self) -> int:
        """The number of products that complete a chain: one block computes one of them."""
        return self.pending_CPD.shape[1] if self.is_completed else 0

    def find_subspace(self, level: int) -> Tensor:
        """Returns an orthonormal basis, shape (D, R), of all that X, or H, depends on at a level:
        the codes, and the bits that are still to be multiplied in.
        """
        n_done = min(level, self.products)
        return torch.cat([self.code_CD, self.pending_CPD[:, n_done:].flatten(0, 1)]).T

    def build_readout(self) -> Tensor:
        """Returns the weights, shape (R, D), that read the factors of X, or of H, at the last
        level.
        """
        return torch.cat([self.read_CD, self.pending_CPD[:, self.products :].flatten(0, 1)])


@dataclass(frozen=True)
class Stream:
    """The weights of the embedding, and where it puts the chains."""

    embedding_DI: Tensor
    concept: Chains
    human: Chains


class IdleBlock(LadderBlock):
    """Multiplies nothing: the identity."""

    @property
    def components(self) -> int:
        return 0

    def compute_outputs(self, z_ND: Tensor) -> Tensor:
        return z_ND.new_zeros(0, *z_ND.shape)


class ProductBlock(LadderBlock):
    """Multiplies a pending bit u into the product r of each of some chains.

    For r and u in {-1, 1}: r · u = |r + u| - 1, with |x| = relu(x) + relu(-x) and r = relu(r) -
    relu(-r), so that four hidden units give the change r · u - r. Each product is a component.
    """

    def __init__(self, read_CD: Tensor, pending_CD: Tensor, write_CD: Tensor) -> None:
        super().__init__()
        sum_CD = read_CD + pending_CD
        in_HD = torch.cat([sum_CD, -sum_CD, read_CD, -read_CD])
        out_HD = torch.cat([write_CD, write_CD, -write_CD, write_CD])
        self.hidden = make_linear(in_HD, torch.zeros(len(in_HD)))
        self.out = make_linear(out_HD.T, -write_CD.sum(dim=0))

    @property
    def components(self) -> int:
        return self.hidden.out_features // 4

    def forward(self, z_ND: Tensor) -> Tensor:
        return z_ND + self.out(torch.relu(self.hidden(z_ND)))

    def compute_outputs(self, z_ND: Tensor) -> Tensor:
        sum_NC, opposite_NC, positive_NC, negative_NC = torch.relu(self.hidden(z_ND)).chunk(4, 1)
        change_NC = sum_NC + opposite_NC - positive_NC + negative_NC - 1
        write_CD = self.out.weight.T[: self.components]
        return change_NC.T[:, :, None] * write_CD[:, None]


class ConstructedNetwork(LadderNetwork):
    """The embedding, blocks of products, and what reads X and H from the last level. A block in
    which no chain is multiplied is the identity.
    """

    name: ClassVar[str] = "constructed"

    def __init__(self, stream: Stream, blocks: int) -> None:
        super().__init__()
        self.embedding = make_linear(stream.embedding_DI)
        chains = (stream.concept, stream.human)
        self.blocks = nn.ModuleList(build_block(chains, number) for number in range(blocks))
        self.concept_readout = make_linear(stream.concept.build_readout())
        self.human_readout = make_linear(stream.human.build_readout())

    def compute_opinions(self, z_ND: Tensor) -> Opinions:
        concept_N = self.concept_readout(z_ND).prod(dim=1)
        human_N = self.human_readout(z_ND).prod(dim=1)
        return Opinions(CERTAIN * concept_N, CERTAIN * human_N)

    def count_block_flops(self) -> list[int]:
        counts = []
        for block in self.blocks:
            hidden = block.hidden.out_features if isinstance(block, ProductBlock) else 0
            counts.append(2 * 2 * self.embedding.out_features * hidden)
        return counts


def build_block(chains: tuple[Chains, ...], number: int) -> LadderBlock:
    """Returns the block that multiplies the pending bit of this number into each chain that has
    one.
    """
    active = [some for some in chains if number < some.products]
    if not active:
        return IdleBlock()
    return ProductBlock(
        torch.cat([some.read_CD for some in active]),
        torch.cat([some.pending_CPD[:, number] for some in active]),
        torch.cat([some.write_CD for some in active]),
    )


def lay_out_stream(
    concept: ChainPlan, human: ChainPlan, width: int, rng: np.random.Generator
) -> Stream:
    """Returns a stream whose width is the number of bits. Bits that belong to no chain fill up the
    codes; each of the others has a coordinate of its own. The coordinates are in random order.
    """
    coordinates = rng.permutation(width)
    chain_bits = np.concatenate([concept.positions_CI.ravel(), human.positions_CI.ravel()])
    unrelated = np.setdiff1d(np.arange(width), chain_bits)
    embedding_DI = np.zeros((width, width))
    found = []
    for plan in (concept, human):
        n = plan.count_coordinates()
        n_fillers = len(plan.positions_CI) * (plan.width - 1)
        found.append(_place_chains(plan, embedding_DI, coordinates[:n], unrelated[:n_fillers], rng))
        coordinates, unrelated = coordinates[n:], unrelated[n_fillers:]
    embedding_DI[coordinates, unrelated] = 1
    return Stream(torch.from_numpy(embedding_DI), *found)


def _place_chains(
    plan: ChainPlan,
    embedding_DI: Floats,
    coordinates: Positions,
    fillers: Positions,
    rng: np.random.Generator,
) -> Chains:
    """Writes the chains of a plan into the embedding, and returns where they are.

    Args:
        fillers: positions of the bits that fill up the codes.
    """
    chains, length = plan.positions_CI.shape
    code_CD = np.zeros((chains, len(embedding_DI)))
    pending_CPD = np.zeros((chains, length - 1, len(embedding_DI)))
    coordinates_of = coordinates.reshape(chains, -1)
    fillers_of = fillers.reshape(chains, -1)
    for i, bits in enumerate(plan.positions_CI):
        code, pending = np.split(coordinates_of[i], [plan.width])
        rotation_MM = draw_rotation(plan.width, rng)
        embedding_DI[code, bits[0]] = plan.amplitude * rotation_MM[0]
        embedding_DI[np.ix_(code, fillers_of[i])] = rotation_MM[1:].T
        embedding_DI[pending, bits[1:]] = 1
        code_CD[i, code] = rotation_MM[0]
        pending_CPD[i, np.arange(length - 1), pending] = 1
    return Chains(
        plan.amplitude,
        torch.from_numpy(code_CD),
        torch.from_numpy(pending_CPD),
        plan.is_completed,
    )


def draw_rotation(width: int, rng: np.random.Generator) -> Floats:
    """Returns a random orthogonal matrix, shape (M, M). Its first row is +1/√M or -1/√M in each
    column, so that whoever reads along it needs all coordinates.

    >>> rotation = draw_rotation(4, np.random.default_rng(0))
    >>> bool(np.allclose(rotation @ rotation.T, np.eye(4))), np.abs(rotation[0]).round(3).tolist()
    (True, [0.5, 0.5, 0.5, 0.5])
    """
    columns_MM = rng.standard_normal((width, width))
    first_M = rng.choice([-1.0, 1.0], width) / np.sqrt(width)
    columns_MM[:, 0] = first_M
    rotation_MM = np.linalg.qr(columns_MM)[0].T
    rotation_MM[0] = first_M
    return rotation_MM


def make_linear(weight_OI: Tensor, bias_O: Tensor | None = None) -> nn.Linear:
    """Returns a linear map with these weights, float32; it draws no random numbers.

    Args:
        weight_OI: from inputs I to outputs O.
        bias_O: None for none.
    """
    outputs, inputs = weight_OI.shape
    linear = nn.Linear(inputs, outputs, bias=bias_O is not None, device="meta")
    linear.weight = nn.Parameter(weight_OI.float().contiguous())
    if bias_O is not None:
        linear.bias = nn.Parameter(bias_O.float())
    return linear
