"""The cosine between a head and a probe for X predicts how well the head ranks X where X and H
differ, on planted heads and on the vault.
"""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from storage.run_folder import read_heads
from tests.running import train
from verdict.shift_cosine import compute_shift_cosines, correlate

WIDTH, N = 16, 1000
SMALL_VAULT = [
    "core_model.width=32",
    "core_model.heads=2",
    "core_model.mlp_ratio=4",
    "core_model.episodes=20000",
    "core_model.epochs=2",
    "core_model.batch_size=64",
    "core_model.learning_rate=0.003",
    "data.probe=2000",
]


def draw_episodes(seed):
    """Returns activations at two levels, of which the last dimension is X at the second, and X."""
    rng = torch.Generator().manual_seed(seed)
    concept_N = torch.rand(2 * N, generator=rng) > 0.5
    z_NLD = torch.randn(2 * N, 2, WIDTH, generator=rng)
    z_NLD[:, 1, -1] += 2 * (2 * concept_N.float() - 1)
    return z_NLD, concept_N.numpy()


@pytest.fixture(scope="module")
def planted():
    """A probe's data, and disputed episodes of the same kind."""
    z_NLD, concept_N = draw_episodes(0)
    cases = SimpleNamespace(concept_N=concept_N)
    probe = SimpleNamespace(n_easy=N, cases=cases, z_NLD=z_NLD, levels=(3, 4), shift_probes={})
    return probe, *draw_episodes(1)


def compute(planted, levels, directions):
    probe, disputed_NLD, _ = planted
    heads = SimpleNamespace(table=[(own, 0, 1.0) for own in levels])
    log_odds = [
        disputed_NLD[:, probe.levels.index(own[-1])].numpy() @ direction
        for own, direction in zip(levels, directions, strict=True)
    ]
    return compute_shift_cosines(heads, probe, 4, disputed_NLD, np.stack(log_odds))


def test_a_head_along_x_has_cosine_1_and_one_across_it_0(planted):
    along, across = np.eye(WIDTH)[-1], np.eye(WIDTH)[0]
    cosines = compute(planted, [(4,)] * 4, [along, 5 * along, -along, across])
    assert cosines[:3] == pytest.approx([1, 1, -1], abs=0.02)
    assert cosines[3] == pytest.approx(0, abs=0.1)


def test_a_head_is_held_against_the_probe_of_its_own_level_and_of_several_against_the_best(planted):
    along = np.eye(WIDTH)[-1]
    first, second, both = compute(planted, [(3,), (4,), (3, 4)], [along] * 3)
    assert abs(first) < 0.9, "at the first level nothing says X, so a probe points anywhere"
    assert both == second > 0.98


def test_the_cosine_in_the_metric_of_the_covariance_is_the_correlation_of_log_odds():
    rng = np.random.default_rng(0)
    z_ND = rng.normal(size=(N, 3)) @ rng.normal(size=(3, 3))
    first, second = rng.normal(size=(2, 3))
    metric = np.cov(z_ND.T)
    cosine = first @ metric @ second
    cosine /= np.sqrt((first @ metric @ first) * (second @ metric @ second))
    assert correlate((z_ND @ first)[None], z_ND @ second)[0] == pytest.approx(cosine)


@pytest.mark.slow
def test_on_the_vault_the_cosine_predicts_how_well_heads_rank_x_and_easy_episodes_do_not(tmp_path):
    tables = []
    for prior in ("gaussian", "simplicity"):
        choices = ["reporter=linear", f"prior={prior}", "strengths=[0.0625,0.5,4,16]", "seeds=1"]
        folder = tmp_path / prior
        done = train(*choices, *SMALL_VAULT, "data.disputed=1000", folder=folder)
        assert done.returncode == 0, done.stderr
        tables.append(read_heads(folder))
    heads = pd.concat(tables)
    assert np.corrcoef(heads["shift_cosine"], heads["ranks_concept"])[0, 1] ** 2 >= 0.95
    assert np.corrcoef(heads["easy_auroc"], heads["ranks_concept"])[0, 1] ** 2 < 0.8
