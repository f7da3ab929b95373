"""Sparse probes: the edge search under circuit_size, beside `fit_sparse_probe` of TransformerLens
with as many features.

N: episodes, D: width, M: strengths.
"""

from __future__ import annotations

import time
from typing import NamedTuple

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor

from priors.circuit_size import CircuitSize
from reporters.linear import Linear
from reporters.reporter import nll
from training.edge_search import refit
from training.examples import Examples
from training.linear_fits import LinearFits
from training.prune import prune_edges

STRENGTHS = (16.0, 8.0, 4.0, 2.0, 1.0, 0.5, 0.25)
"""Of circuit_size: each is a price, and the search decides how many edges are worth it."""
PENALTY = 1e-6
"""Of squared weights, for theirs: ours has none."""
MEMORY = 2**30
"""Bytes that our search may need."""


class Probe(NamedTuple):
    """A linear probe of few edges."""

    weight_D: Tensor
    bias: Tensor

    @property
    def edges(self) -> int:
        """The number of its edges."""
        return int((self.weight_D != 0).sum())

    def measure_auroc(self, examples: Examples) -> float:
        """Returns the AUROC on some episodes."""
        scores_N = examples.z_NLD.flatten(1) @ self.weight_D
        return float(roc_auc_score(examples.human_N, scores_N))

    def measure_errors(self, examples: Examples) -> float:
        """Returns the errors on some episodes, in nats an episode."""
        log_odds_N = examples.z_NLD.flatten(1) @ self.weight_D + self.bias
        return float(nll(log_odds_N, examples.human_N).mean())


class SparseRow(NamedTuple):
    """Two probes with as many edges, and a third: our refit of their edges."""

    edges: int
    ours: float
    """AUROC on held-out episodes."""
    theirs: float
    refit: float
    ours_errors: float
    """Nats of an episode of training."""
    theirs_errors: float
    shared: int
    """How many edges both have."""
    times: float
    """Time of their fit, as a multiple of our search at one price."""


def compare_sparse(lesson: Examples, held_out: Examples) -> list[SparseRow]:
    """Returns a row for each number of edges that the search finds at one of the strengths."""
    rows = {}
    for strength in STRENGTHS:
        start = time.perf_counter()
        ours = search_edges(lesson, strength)
        seconds = time.perf_counter() - start
        if not ours.edges or ours.edges in rows:
            continue
        start = time.perf_counter()
        theirs = fit_lens(lesson, ours.edges)
        rows[ours.edges] = SparseRow(
            ours.edges,
            ours.measure_auroc(held_out),
            theirs.measure_auroc(held_out),
            refit_edges(lesson, theirs).measure_auroc(held_out),
            ours.measure_errors(lesson),
            theirs.measure_errors(lesson),
            int(((ours.weight_D != 0) & (theirs.weight_D != 0)).sum()),
            (time.perf_counter() - start) / seconds,
        )
    return list(rows.values())


def search_edges(lesson: Examples, strength: float) -> Probe:
    """Returns the head with the edges that are worth their price under circuit_size; the search
    begins from no edges.
    """
    n, _, width = lesson.z_NLD.shape
    price = strength * CircuitSize(log_alpha=0.0, prune=True).edge_price(width, n)
    weights = {"weight_1D": torch.zeros(1, 1, 1, 1, width), "bias": torch.zeros(1, 1, 1)}
    data = (lesson.z_NLD[None], lesson.human_N, torch.tensor([price]), MEMORY)
    pruned, _ = prune_edges(Linear(1, width), weights, *data)
    return Probe(pruned["weight_1D"].flatten(), pruned["bias"].flatten())


def refit_edges(lesson: Examples, probe: Probe) -> Probe:
    """Returns our refit of a probe on the edges that it has."""
    fits = LinearFits(Linear(1, len(probe.weight_D)), lesson.z_NLD, lesson.human_N, MEMORY)
    start_1W = torch.cat([probe.weight_D, torch.zeros(1)])[None]
    theta_W = refit(fits, start_1W, torch.zeros(1)).theta_KW[0]
    return Probe(theta_W[:-1], theta_W[-1])


def fit_lens(lesson: Examples, edges: int) -> Probe:
    """Returns the probe of TransformerLens. It holds out two episodes, the
    least that it can, and chooses the features by the difference of class means.
    """
    from transformer_lens.tools.analysis.sparse_probing import fit_sparse_probe

    probe = fit_sparse_probe(
        lesson.z_NLD.flatten(1),
        lesson.human_N.long(),
        k=edges,
        test_fraction=1e-9,
        class_weight=None,
        l2_strength=PENALTY,
    )
    weight_D = torch.zeros(lesson.z_NLD.shape[-1])
    weight_D[probe.selected_features] = probe.coefficients.float()
    return Probe(weight_D, probe.intercept.float())
