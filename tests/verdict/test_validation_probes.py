"""How complete and how selective swaps are: planted activations that hold X and H in known places.

N: episodes, P: swaps, D: width.
"""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from verdict.evidence.subspaces import projection, swap_parts
from verdict.ground_truth import draw_exchange
from verdict.results import describe_swaps
from verdict.swaps import Swap
from verdict.validation_probes import Reliability, fit_validation_probe, measure_reliability

N, D = 2_000, 6
SWAP = Swap(3, 1, 1, 10, 10, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0, 0.9, 0.8, 0.7, 0.6)


def draw_bits(seed: int) -> tuple[Tensor, Tensor]:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.random(N) < 0.5), torch.from_numpy(rng.random(N) < 0.5)


def measure(directions: list[list[int]], build) -> Reliability:
    """Returns how complete and selective a swap of some coordinates is, meant as the part of X."""
    z_ND, concept_N, human_N = build(seed=0)
    read_concept = fit_validation_probe(z_ND, concept_N)
    read_human = fit_validation_probe(z_ND, human_N)
    z_ND, concept_N, human_N = build(seed=1)
    exchange = draw_exchange(concept_N.numpy(), human_N.numpy(), np.random.default_rng(0))
    basis_DR = torch.eye(D, dtype=torch.float64)[:, directions]
    after_PD = swap_parts(z_ND[:, None], exchange, projection(basis_DR)[None])[:, 0]
    source_P = concept_N[exchange.source_P]
    return measure_reliability(read_concept, read_human, z_ND[exchange.base_P], after_PD, source_P)


def plant(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """X is on coordinates 0 and 1, H on 2, both on 3; 4 and 5 are noise."""
    concept_N, human_N = draw_bits(seed)
    z_ND = 0.3 * torch.randn(N, D, generator=torch.Generator().manual_seed(seed))
    z_ND[:, 0] += 2.0 * concept_N - 1
    z_ND[:, 1] += 2.0 * concept_N - 1
    z_ND[:, 2] += 2.0 * human_N - 1
    return z_ND, concept_N, human_N


def test_the_whole_part_of_x_is_complete_and_selective():
    found = measure([0, 1], plant)
    assert found.completeness > 0.98
    assert found.selectivity > 0.98


def test_a_part_that_holds_nothing_of_x_is_selective_and_not_complete():
    found = measure([4, 5], plant)
    assert found.completeness < 0.02
    assert found.selectivity > 0.98


def test_half_of_the_part_of_x_is_not_complete():
    found = measure([0], plant)
    assert 0.2 < found.completeness < 0.8
    assert found.selectivity > 0.95


def test_all_activations_are_complete_and_keep_h_where_sources_have_the_same():
    found = measure(list(range(D)), plant)
    assert found.completeness > 0.98
    assert found.selectivity > 0.97


def plant_entangled(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """H is the sign of a product: what is read of it depends on the coordinate of X."""
    z_ND, concept_N, human_N = plant(seed)
    sign_N = 2.0 * (concept_N == human_N) - 1
    z_ND[:, 2] += sign_N - (2.0 * human_N - 1)
    return z_ND, concept_N, human_N


def test_a_part_on_which_h_depends_is_not_selective():
    found = measure([0, 1], plant_entangled)
    assert found.completeness > 0.98
    assert found.selectivity < 0.1


def plant_hidden(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """X is the product of two coordinates, of which neither shows it."""
    concept_N, human_N = draw_bits(seed)
    z_ND = 0.3 * torch.randn(N, D, generator=torch.Generator().manual_seed(seed))
    first_N = 2.0 * (torch.rand(N, generator=torch.Generator().manual_seed(seed + 9)) < 0.5) - 1
    z_ND[:, 0] += first_N
    z_ND[:, 1] += first_N * (2.0 * concept_N - 1)
    z_ND[:, 2] += 2.0 * human_N - 1
    return z_ND, concept_N, human_N


def test_an_x_that_no_line_shows_is_read():
    """A linear probe would give one half to each swap, whatever is swapped."""
    assert measure([4], plant_hidden).completeness < 0.05
    assert measure([0, 1], plant_hidden).completeness > 0.95
    assert 0.3 < measure([0], plant_hidden).completeness < 0.7


@pytest.mark.parametrize("value", [False, True])
def test_a_variable_that_never_varies_is_read_as_it_is(value):
    z_ND = torch.randn(50, D)
    read = fit_validation_probe(z_ND, torch.full((50,), value))
    assert (read(z_ND) == value).all()


def test_without_swaps_there_is_none():
    nothing = torch.empty(0, D)
    read = SimpleNamespace()
    assert measure_reliability(read, read, nothing, nothing, torch.empty(0)) == (0, 0)


def test_columns_are_means_over_the_levels_that_a_head_reads():
    swaps = (SWAP, replace(SWAP, level=4, concept_completeness=0.5))
    assert describe_swaps(swaps, [3])["swap_concept_completeness"] == 0.9
    assert describe_swaps(swaps, [3, 4])["swap_concept_completeness"] == pytest.approx(0.7)
    assert describe_swaps(swaps, [4])["swap_human_selectivity"] == 0.6
    assert np.isnan(list(describe_swaps((), [3]).values())).all()
