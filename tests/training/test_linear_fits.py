"""Refits of heads with one optimum: also where edges read the same, so that rounding leaves their
curvature without an inverse.
"""

import pytest
import torch

from training.linear_fits import fit_by_newton, solve


def test_regular_equations_have_the_solution_of_torch():
    rng = torch.Generator().manual_seed(0)
    root = torch.randn(5, 4, 4, generator=rng)
    matrix, right = root @ root.mT + torch.eye(4), torch.randn(5, 4, 2, generator=rng)
    assert torch.equal(solve(matrix, right), torch.linalg.solve(matrix, right))


def test_of_a_singular_matrix_the_diagonal_counts_and_others_are_not_harmed():
    matrix = torch.stack([torch.ones(2, 2), torch.tensor([[2.0, 1.0], [1.0, 2.0]])])
    right = torch.tensor([[[3.0], [6.0]], [[3.0], [3.0]]])
    with pytest.raises(RuntimeError, match="singular"):
        torch.linalg.solve(matrix, right)
    assert solve(matrix, right)[0].tolist() == [[3.0], [6.0]]
    torch.testing.assert_close(solve(matrix, right)[1], torch.ones(2, 1))


def test_a_refit_on_edges_whose_curvature_is_singular_still_falls(monkeypatch):
    monkeypatch.setattr("training.linear_fits.add_ridge", lambda matrix: matrix)
    rng = torch.Generator().manual_seed(0)
    feature_N = torch.randn(500, generator=rng)
    human_N = (feature_N + torch.randn(500, generator=rng) > 0).float()
    a_1PN = torch.stack([feature_N, feature_N])[None]
    start = torch.zeros(1, 2)
    theta, errors = fit_by_newton(a_1PN, human_N, start, torch.tensor([torch.inf]))
    single, least = fit_by_newton(a_1PN[:, :1], human_N, start[:, :1], torch.tensor([torch.inf]))
    assert errors[0] < least[0] + 0.5
    assert theta.sum() == pytest.approx(float(single.sum()), rel=0.1)
