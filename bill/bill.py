"""The bill: what finished heads cost, in every unit, whichever prior they were trained under.

K = G · S · M heads; N: episodes, L: levels, D: width, R: levels a head is given, T: exits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from bill.edges import count, live_edges, live_units
from bill.explanation import explanation
from bill.finished import Explained, FinishedHeads, Stopped
from bill.learning_coefficient import learning_coefficient
from bill.prequential import SCHEDULE, prequential_bits, refuse_few
from bill.two_part import TwoPart, two_part
from bill.variational import variational
from compute.memory import at_once
from console.errors import UserError
from reporters.logic import Logic
from reporters.reporter import Reporter, no_weights, units
from reporters.stack import Weights, grouped, over_heads, stacked

CLOCKED = 1000
"""Episodes at most on which heads are timed."""
LANGEVIN: dict[str, Any] = {"step": 2e-3, "steps": 450, "chains": 4, "pull": 1.0, "seed": 0}
"""How the learning coefficient is sampled."""
EXPLAINED = 128
"""Episodes on which explanations are looked for."""


class Item(NamedTuple):
    """One unit of a bill, for each of K heads; NaN where a head has no such thing."""

    value_K: Tensor
    how: str
    """Its unit, and how it was measured."""
    repeats: bool = True
    """Whether the same heads give the same number again; a clock does not."""


Bill = Mapping[str, Item]
"""Items by name."""


@dataclass(frozen=True)
class Meter:
    """Which of the slower measures a bill has.

    Args:
        prequential: bits of the labels by learners with each head's live edges.
        variational: bits of the labels by the head with the precision that its numbers need.
        explanation: bits of a circuit through predictor and head; for a predictor that can be
            ablated.
        learning_coefficient: the local learning coefficient, a diagnostic.
    """

    prequential: bool
    variational: bool
    explanation: bool
    learning_coefficient: bool

    def check(self, n_examples: int) -> None:
        """Raises UserError where there are too few training episodes for a measure."""
        if self.prequential:
            refuse_few(n_examples)

    def __call__(self, heads: FinishedHeads, room: float = math.inf) -> Bill:
        """Returns the bill of a stack of finished heads.

        Args:
            room: bytes that this may take; heads are billed in as many parts as that needs.

        Raises:
            UserError: heads that are not finished; too few episodes for the prequential code.
        """
        return self._bill(
            heads.reporter,
            heads.weights,
            heads.z_NLD,
            heads.human_N,
            heads.stopped,
            heads.flops_by_level,
            heads.seconds_by_level,
            heads.explained,
            room,
        )

    def _bill(
        self,
        reporter: Reporter,
        weights: Weights,
        z_NLD: Tensor,
        human_N: Tensor,
        stopped: Mapping[str, Stopped],
        flops_by_level: Sequence[float],
        seconds_by_level: Sequence[float] | None = None,
        explained: Explained | None = None,
        room: float = math.inf,
    ) -> Bill:
        refuse_unfinished(reporter, weights)
        if next(iter(weights.values())).shape[2] > 1 and all(
            (value == value[:, :, :1]).all() for value in weights.values()
        ):
            return self._of_one_strength(
                reporter,
                weights,
                z_NLD,
                human_N,
                stopped,
                flops_by_level,
                seconds_by_level,
                explained,
                room,
            )
        z_GNRD = grouped(z_NLD, reporter)
        grid = next(iter(weights.values())).shape[:3]
        size = at_once(
            grid[1] * grid[2],
            lambda k: _coded(reporter, _part(weights, slice(k)), z_GNRD, human_N),
            room,
        )
        if size < grid[1] * grid[2]:
            return self._in_parts(
                size,
                reporter,
                weights,
                z_NLD,
                human_N,
                stopped,
                flops_by_level,
                seconds_by_level,
                explained,
            )
        live, two = _coded(reporter, weights, z_GNRD, human_N)
        edges_K = (
            over_heads(count)(live).flatten() if live else torch.full(grid, torch.nan).flatten()
        )
        train = stopped["train"]
        sizes = units(reporter, z_GNRD.shape[2]) | (
            _flat(over_heads(live_units)(live)) if live else {}
        )
        own_TK = torch.stack([_each(own, edges_K) for own in reporter.flops(sizes)])
        flops_KN = torch.tensor(flops_by_level, dtype=torch.float64)[
            train.level_KN
        ] + own_TK.T.gather(1, train.exit_KN)
        bill = {
            "two_part_bits": Item(
                two.total.flatten(),
                "bits; two-part code of the training labels: parameters rounded at the best"
                " precision, then errors",
            ),
            "model_bits": Item(
                two.model.flatten(),
                "bits; the parameters' part of the two-part code: it says little without the other",
            ),
            "edges": Item(
                edges_K,
                "edges; weights that are not 0 and on a live path, by gradients on the training"
                " episodes",
            ),
            "flops": Item(
                flops_KN.mean(dim=1),
                "FLOPs an episode; predictor to the deepest level read, and the head without its"
                " dead units",
            ),
        }
        for kind, where in stopped.items():
            suffix = "" if kind == "train" else f"_{kind}"
            bill[f"level_read{suffix}"] = Item(
                where.level_KN.double().mean(dim=1),
                f"levels; mean deepest of the predictor's read, {kind} episodes",
            )
            bill[f"steps{suffix}"] = Item(
                where.exit_KN.double().mean(dim=1) + 1,
                f"steps; mean exit where the head stops, {kind} episodes",
            )
        bill |= _circuits(reporter, weights)
        if seconds_by_level is not None:
            seconds_K = torch.tensor(seconds_by_level, dtype=torch.float64)[train.level_KN].mean(
                dim=1
            ) + _seconds(reporter, weights, z_GNRD)
            how = (
                "seconds for 1,000 episodes; by the clock of this machine, predictor to the level"
                f" read, and a head's share in {len(edges_K)}"
            )
            bill["seconds"] = Item(seconds_K, how, repeats=False)
        if self.prequential:
            how = (
                f"bits; prequential code of the training labels, {SCHEDULE}, mixed with a uniform"
                " code, by learners with the head's live edges"
            )
            bits_GSM = prequential_bits(reporter, live, z_NLD, human_N)
            bill["prequential_bits"] = Item(
                bits_GSM.expand(next(iter(weights.values())).shape[:3]).flatten(), how
            )
        if self.variational:
            how = (
                "bits; variational code of the training labels, about the finished head, learned"
                " scales paid for"
            )
            told = variational(reporter, weights, z_NLD, human_N)
            bill["variational_bits"] = Item(told.total.flatten(), how)
            bill["variational_model_bits"] = Item(
                told.model.flatten(), "bits; the head's part of the variational code"
            )
        if self.explanation and explained:
            told_K = sum(
                (two.rounded[name] != 0).flatten(3).sum(dim=3).flatten() for name in live
            ) + torch.zeros(len(edges_K))
            found = explanation(
                reporter,
                weights,
                two.rounded,
                *explained,
                z_NLD,
                told_K,
                two.values.flatten(),
                len(human_N),
                EXPLAINED,
            )
            how = (
                "bits; the shortest circuit found through predictor and head, mean ablation,"
                f" {EXPLAINED} training episodes, an upper bound"
            )
            bill["explanation_bits"] = Item(found.bits_K, how)
            bill["explanation_components"] = Item(
                found.components_K,
                "components; those of the predictor (attention heads, MLPs) in that circuit",
            )
        if self.learning_coefficient:
            sampled = learning_coefficient(reporter, weights, z_NLD, human_N, **LANGEVIN)
            how = (
                "half the effective parameters; Langevin dynamics about the finished head on the"
                " training episodes, a diagnostic"
            )
            bill["learning_coefficient"] = Item(
                sampled.value_K, f"{how}; believe it only where it has settled"
            )
            bill["learning_coefficient_settled"] = Item(
                sampled.settled_K.double(), "1 or 0; drift and split R-hat of the chains' traces"
            )
        return bill

    def _of_one_strength(
        self,
        reporter: Reporter,
        weights: Weights,
        z_NLD: Tensor,
        human_N: Tensor,
        stopped: Mapping[str, Stopped],
        *rest: Any,
    ) -> Bill:
        """Returns the bill of heads that are the same at every strength, as those without a prior
        are: each is measured once.
        """
        grid = next(iter(weights.values())).shape[:3]
        once = {name: value[:, :, :1] for name, value in weights.items()}
        stopped_once = {
            kind: Stopped(*(of_all_KN[:: grid[2]] for of_all_KN in where))
            for kind, where in stopped.items()
        }
        bill = self._bill(reporter, once, z_NLD, human_N, stopped_once, *rest)
        return {
            name: item._replace(value_K=item.value_K.repeat_interleave(grid[2]))
            for name, item in bill.items()
        }

    def _in_parts(
        self,
        size: int,
        reporter: Reporter,
        weights: Weights,
        z_NLD: Tensor,
        human_N: Tensor,
        stopped: Mapping[str, Stopped],
        *rest: Any,
    ) -> Bill:
        """Returns the same bill, of so many seeds and strengths at a time."""
        groups, seeds, strengths = next(iter(weights.values())).shape[:3]
        bills = []
        for start in range(0, seeds * strengths, size):
            part = slice(start, start + size)
            of_part = {
                kind: Stopped(
                    *(
                        each_KN.unflatten(0, (groups, -1))[:, part].flatten(0, 1)
                        for each_KN in where
                    )
                )
                for kind, where in stopped.items()
            }
            bills.append(self._bill(reporter, _part(weights, part), z_NLD, human_N, of_part, *rest))
        return {
            name: item._replace(
                value_K=torch.cat(
                    [bill[name].value_K.view(groups, -1) for bill in bills], dim=1
                ).flatten()
            )
            for name, item in bills[0].items()
        }


def _part(weights: Weights, part: slice) -> Weights:
    """Returns some of the heads of every group, counted through seeds and strengths, with axes (G,
    S, 1).
    """
    return {name: value.flatten(1, 2)[:, part, None] for name, value in weights.items()}


def _coded(
    reporter: Reporter, weights: Weights, z_GNRD: Tensor, human_N: Tensor
) -> tuple[Weights, TwoPart]:
    """Returns which edges are live, and the two-part codes: of all measures they take the most
    memory.
    """
    code = over_heads(
        lambda one, z_NRD: two_part(reporter, one, z_NRD, human_N), (0, 0), (0, None), (0, None)
    )
    with torch.no_grad():
        return _live(reporter, weights, z_GNRD), code(weights, z_GNRD)


@torch.no_grad()
def _seconds(reporter: Reporter, weights: Weights, z_GNRD: Tensor) -> float:
    """Returns one head's share of the seconds that a stack takes to read 1,000 episodes."""
    begun = time.perf_counter()
    heads = stacked(reporter, weights, z_GNRD[:, :CLOCKED]).log_odds_NT.shape[:3].numel()
    return (time.perf_counter() - begun) / heads * 1000 / min(CLOCKED, z_GNRD.shape[1])


def _circuits(reporter: Reporter, weights: Weights) -> Bill:
    """Returns what the circuits of heads of logic gates count, once they are simplified."""
    if not isinstance(reporter, Logic):
        return {}
    flat = {name: value.flatten(0, 2) for name, value in weights.items()}
    circuits = [
        reporter.circuit({name: value[k] for name, value in flat.items()}).simplified()
        for k in range(len(next(iter(flat.values()))))
    ]
    counts = torch.tensor(
        [[circuit.gates, circuit.depth, circuit.thresholds] for circuit in circuits]
    ).double()
    how = "of the head's circuit: constants folded, wires and NOT absorbed, common parts shared"
    return {
        "gates": Item(counts[:, 0], f"two-input gates; {how}"),
        "depth": Item(counts[:, 1], f"gates on the longest path; {how}"),
        "thresholds": Item(counts[:, 2], f"activations compared with a value; {how}"),
    }


def refuse_unfinished(reporter: Reporter, weights: Weights) -> None:
    """Raises UserError where a head is not finished: a parameter is no number, or a choice is still
    open.
    """
    broken = next((name for name, value in weights.items() if not value.isfinite().all()), None)
    if broken:
        raise UserError(
            f"bill: the heads are not finished: {broken} holds NaN or infinity. Bill the heads that"
            " training.population.train returns."
        )
    hard = over_heads(reporter.harden)(weights)
    loose = next(
        (name for name, value in weights.items() if not torch.equal(hard[name], value)), None
    )
    if loose:
        raise UserError(
            f"bill: the heads are not finished: {loose} holds choices that are open. Pass the"
            " weights through reporter.harden first."
        )


def _live(reporter: Reporter, weights: Weights, z_GNRD: Tensor) -> Weights:
    sign_N = torch.randn(z_GNRD.shape[1], generator=torch.Generator().manual_seed(0)).to(z_GNRD)
    if no_weights(reporter):
        return {}
    find = over_heads(
        lambda one, z_NRD: live_edges(reporter, one, z_NRD, sign_N), (0, 0), (0, None), (0, None)
    )
    return find(weights, z_GNRD)  # type: ignore[no-any-return]


def _flat(tensors: Weights) -> Weights:
    return {name: value.flatten() for name, value in tensors.items()}


def _each(value: Tensor | float, like_K: Tensor) -> Tensor:
    """Returns a number of one head or of each as one of each."""
    return torch.as_tensor(value, dtype=torch.float64).expand(like_K.shape)
