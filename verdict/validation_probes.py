"""How complete and how selective a swap of a part of the activations is, by probes that had no
share in choosing the part.

Canby et al. (2024), "How reliable are causal probing interventions?", arXiv 2408.15510.

N: episodes, P: swaps, D: width.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from torch import Tensor

from verdict.statistics import Floats

HIDDEN = 64
"""Units of a probe: it reads more than the linear part that is swapped."""
STEPS = 300
"""Most steps of L-BFGS that fit it."""
Read = Callable[[Tensor], Floats]
"""From activations z_ND to the probability that a variable is true, shape (N,)."""


class Reliability(NamedTuple):
    """Means over swaps; 0 where there is none."""

    completeness: float
    """Probability of the source's value of the swapped variable, as a probe reads it afterwards: 1
    less its total variation distance from the value itself.
    """
    selectivity: float
    """How little the other variable's probability changes: 1 less the change, as a share of the
    most that it could change.
    """


def fit_validation_probe(z_ND: Tensor, value_N: Tensor) -> Read:
    """Returns a probe for a variable: an MLP of one hidden layer, under a standard normal prior. Of
    a variable that never varies it reads the one value that there is.
    """
    if len(value_N.unique()) == 1:
        return lambda z_ND: np.full(len(z_ND), float(value_N[0]))
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    network = MLPClassifier((HIDDEN,), solver="lbfgs", alpha=1.0, max_iter=STEPS, random_state=0)
    probe = make_pipeline(StandardScaler(), network)
    with warnings.catch_warnings():
        # Where the last digits of the probe are does not matter.
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(z_ND.numpy(), value_N.numpy())

    def read(z_ND: Tensor) -> Floats:
        return probe.predict_proba(z_ND.numpy())[:, 1]

    return read


def measure_reliability(
    swapped: Read, other: Read, before_PD: Tensor, after_PD: Tensor, source_P: Tensor
) -> Reliability:
    """Returns how complete and how selective swaps are.

    Args:
        swapped: a probe for the variable whose part is swapped.
        other: a probe for the other one.
        source_P: the swapped variable's value in the episode that the part is from, bool.
    """
    if not len(before_PD):
        return Reliability(0.0, 0.0)
    yes_P = swapped(after_PD)
    reached_P = np.where(source_P.numpy(), yes_P, 1 - yes_P)
    other_P = other(before_PD)
    most_P = np.maximum(other_P, 1 - other_P)
    kept_P = 1 - np.abs(other(after_PD) - other_P) / most_P
    return Reliability(float(reached_P.mean()), float(kept_P.mean()))
