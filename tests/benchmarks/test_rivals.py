"""The comparison with other packages: equal where the method is the same, and told apart where it
is not. Rows of packages that are missing are skipped.

N: episodes, D: width.
"""

import numpy as np
import pytest
import torch

from benchmarks import rival_packages, rivals
from benchmarks.rival_heads import (
    Pair,
    compare,
    fit_reporter,
    fit_scikit_centroids,
    list_pairs,
)
from benchmarks.rival_packages import Package
from benchmarks.rival_sparse import compare_sparse, refit_edges, search_edges
from benchmarks.rival_texts import compare_set
from reporters.logistic import Logistic
from tests.reporters.planted_pairs import draw_pairs
from training.examples import Examples
from verdict.evidence.subspaces import projection, swap_parts
from verdict.ground_truth import draw_exchange

PAIRS = [pair for pair in list_pairs() if not pair.has_seed]
SAME = [pair for pair in PAIRS if not pair.differs]


@pytest.fixture(scope="module")
def planted():
    """Pairs whose truth is weak beside their topic, and others that are held out."""
    lesson, other = draw_pairs(n=300, truth=0.35)
    return lesson, Examples(other.z_NLD, other.human_N)


def draw_sparse(n: int, seed: int) -> Examples:
    """Returns episodes whose answers follow the difference of two inputs that nearly agree, and
    weakly each of four others; the best single inputs are therefore not the best pair.
    """
    rng = torch.Generator().manual_seed(seed)
    z_ND = torch.randn(n, 20, generator=rng)
    z_ND[:, 1] = 0.9 * z_ND[:, 0] + 0.436 * z_ND[:, 1]
    log_odds_N = 5 * (z_ND[:, 0] - z_ND[:, 1]) + 0.8 * z_ND[:, 2:6].sum(dim=1)
    human_N = (torch.rand(n, generator=rng) < log_odds_N.sigmoid()).float()
    return Examples(z_ND[:, None], human_N)


@pytest.mark.parametrize("pair", SAME, ids=lambda pair: f"{pair.ours} and {pair.theirs}")
def test_the_same_method_gives_the_same_auroc_and_the_same_scores(pair, planted):
    if pair.package:
        pytest.importorskip(pair.package.module)
    found = compare(pair, *planted)
    assert found.is_equal and found.correlation > 0.9999 and found.ours > 0.55


def test_another_method_under_the_same_name_is_not_equal(planted):
    """The control: centroids are no logistic regression."""
    pair = Pair("logistic", "NearestCentroid", fit_reporter(Logistic, C=1.0), fit_scikit_centroids)
    found = compare(pair, *planted)
    assert not found.is_equal and found.correlation < 0.99


def test_every_pair_with_scikit_learn_alone_is_of_one_method():
    assert {pair.ours for pair in SAME if pair.package is None} == {
        "logistic",
        "lda",
        "mean_difference",
        "contrast",
    }


def test_a_missing_package_is_named_in_one_line_with_how_to_get_it(monkeypatch, capsys):
    missing = Package("no_such_module", "no-such-package", "pip install no-such-package")
    monkeypatch.setattr(rival_packages, "PACKAGES", (missing,))
    monkeypatch.setattr(rivals, "TABLES", {})
    rivals.main()
    assert capsys.readouterr().out.splitlines()[1:] == [
        "no-such-package is missing, and so are its rows. To get it: pip install no-such-package"
    ]


def test_rows_of_a_missing_package_are_left_out(monkeypatch):
    missing = Package("no_such_module", "no-such-package", "pip install no-such-package")
    monkeypatch.setattr(rivals, "LENS", missing)
    monkeypatch.setattr(rivals, "TEXTS", missing)
    assert not list(rivals.tabulate_swaps()) + list(rivals.tabulate_texts())
    assert not list(rivals.tabulate_sparse())


def test_a_refit_of_all_the_edges_of_a_search_changes_nothing():
    examples = draw_sparse(500, seed=0)
    probe = search_edges(examples, strength=1.0)
    again = refit_edges(examples, probe)
    assert 2 <= probe.edges < 20
    assert torch.allclose(probe.weight_D, again.weight_D, atol=1e-2)


def test_a_search_finds_a_pair_of_edges_that_class_means_do_not():
    pytest.importorskip("transformer_lens")
    examples, held_out = draw_sparse(500, seed=0), draw_sparse(2000, seed=1)
    rows = compare_sparse(examples, held_out)
    assert rows and all(row.ours_errors <= row.theirs_errors + 1e-4 for row in rows)
    assert all(abs(row.refit - row.theirs) < 0.005 for row in rows)
    assert any(row.shared < row.edges and row.ours > row.theirs + 0.01 for row in rows)


def test_texts_of_others_are_scored_as_by_scikit_learn():
    train, test = draw_sparse(300, seed=0), draw_sparse(1000, seed=1)
    row = compare_set("made", train, test)
    assert abs(row.ours - row.scikit) < 0.001 and abs(row.ours - row.chosen) < 0.03


@pytest.fixture(scope="module")
def swaps():
    """The module that needs TransformerLens, and a predictor whose subspaces are known."""
    pytest.importorskip("transformer_lens")
    from benchmarks import rival_swaps

    return rival_swaps, rival_swaps.make_subject("constructed")


def test_both_find_the_part_of_x_and_of_h_where_they_are_complete(swaps):
    module, subject = swaps
    for row in list(module.compare_level(subject, 1))[:2]:
        for outcome in (row.ours, row.theirs):
            assert (outcome.moves, outcome.leaks) == (1, 0) and outcome.off_data < 0.05
        assert row.rank == 1 and max(row.angle) < 12


def test_das_moves_x_where_it_is_not_complete_with_activations_that_no_episode_has(swaps):
    """X is the product of two bits there, and the next block reads the size of their sum."""
    module, subject = swaps
    z_ND = subject.predictor.read(subject.episodes, [0])[:, 0]
    bases = {
        "das": module.fit_theirs(subject, 0, "concept", subject.truth, 1),
        "known": subject.predictor.known_subspaces(0)[0].double(),
    }
    chain = subject.predictor.stream.concept
    product_D, bit_D = chain.read_CD[0], chain.pending_CPD[0, 0]
    sum_D = (product_D + bit_D).double()
    assert abs(bases["das"][:, 0] @ sum_D) / sum_D.norm() > 0.99
    exchange = draw_exchange(*subject.truth, np.random.default_rng(0))
    shares = {}
    for name, basis_DR in bases.items():
        onto_DD = projection(basis_DR)
        outcome = module.measure(subject, 0, z_ND, "concept", subject.truth, onto_DD)
        assert (outcome.moves, outcome.leaks) == (1, 0)
        swapped_PD = swap_parts(z_ND[:, None], exchange, onto_DD[None])[:, 0]
        is_bit_P = ((swapped_PD @ bit_D.float()).abs() - 1).abs() < 0.5
        shares[name] = is_bit_P.float().mean()
    assert shares["known"] == 1 and shares["das"] == 0


def test_neither_finds_arbitrary_labels_or_x_in_a_predictor_that_has_learned_nothing(swaps):
    module, subject = swaps
    z_ND = subject.predictor.read(subject.episodes, [1])[:, 0]
    arbitrary = module.compare_arbitrary(subject, 1, z_ND, rank=1)
    untrained = module.compare_untrained(module.reset(subject), 1)
    for row in (arbitrary, untrained):
        for outcome in (row.ours, row.theirs):
            assert abs(outcome.moves - 0.5) < 0.1
