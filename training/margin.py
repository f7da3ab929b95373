"""Linear heads without a charge at their limit: the largest margin.

Gradient descent on a head that can answer every training episode correctly goes on for ever, and
its direction goes to that of the largest margin (Soudry et al. 2018). No length of training is
right, so the limit is found itself, as a support vector machine (Cortes and Vapnik 1995).

N: episodes, W: parameters of a head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from reporters.reporter import nll

BOUND = 1e9
"""Bound of the multipliers: for separable episodes as good as none."""
PRECISION = 1e-6
"""Of the margin, as a share."""
REST = 0.001
"""Nats of the whole training set that a head is wrong by. Its margin's direction has no length of
its own: a longer one would be less wrong.
"""


def find_largest_margin(a_NW: Tensor, human_N: Tensor, is_weight_W: Tensor) -> Tensor | None:
    """Returns the parameters of the head with the largest margin, float64; None where no head
    answers all episodes correctly.

    Args:
        a_NW: what each parameter is multiplied with in the log-odds of each episode.
        human_N: the answers, 0 or 1.
        is_weight_W: whether a parameter is a weight; the others are biases, which are free.
    """
    a = a_NW.double().cpu().numpy()
    sign_N = 2 * human_N.double().cpu().numpy() - 1
    if not _is_separable(a, sign_N):
        return None
    theta_W = _maximise_margin(a, sign_N, is_weight_W.cpu().numpy())
    log_odds_N = torch.from_numpy(a @ theta_W)
    length = _find_length(log_odds_N, human_N.double().cpu())
    return torch.from_numpy(theta_W * length).to(a_NW.device)


def _is_separable(a: np.ndarray, sign_N: np.ndarray) -> bool:
    """Whether some parameters answer every episode with a margin: a linear program without an
    objective.
    """
    from scipy.optimize import linprog

    found = linprog(
        np.zeros(a.shape[1]),
        A_ub=-sign_N[:, None] * a,
        b_ub=-np.ones(len(a)),
        bounds=(None, None),
        method="highs",
    )
    return bool(found.status == 0)


def _maximise_margin(a: np.ndarray, sign_N: np.ndarray, is_weight_W: np.ndarray) -> np.ndarray:
    """Returns the parameters of least norm with a margin of at least 1 everywhere."""
    from sklearn.svm import SVC

    theta_W = np.zeros(a.shape[1])
    biases_W = ~is_weight_W
    if biases_W.any() and (sign_N == sign_N[0]).all():
        theta_W[biases_W.argmax()] = sign_N[0]
        return theta_W
    svm = SVC(kernel="linear", C=BOUND, tol=PRECISION, cache_size=500)
    svm.fit(a[:, is_weight_W], sign_N)
    theta_W[is_weight_W] = svm.coef_[0]
    if biases_W.any():
        # Of several biases, whose sum alone matters, the first has the whole.
        theta_W[biases_W.argmax()] = svm.intercept_[0]
    return theta_W / (sign_N * (a @ theta_W)).min()


def _find_length(log_odds_N: Tensor, human_N: Tensor) -> float:
    """Returns the factor of log-odds at which a head is wrong by `REST` nats."""
    from scipy.optimize import brentq

    def compute_excess(log_length: float) -> float:
        errors = nll(np.exp(log_length) * log_odds_N, human_N).sum()
        return float(errors.log() - np.log(REST))

    return float(np.exp(brentq(compute_excess, -20.0, 20.0)))
