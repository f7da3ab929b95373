"""The variational code of finished heads: bits of a concept and of random labels, sparse heads, and
that scale does not matter.
"""

import pytest
import torch
from torch.nn import functional as F

from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from tests.bill.made import coins, describe, make_measure, normal, signals
from tests.priors.made import build_prior
from tests.training.made import population

N = 2000


def total(*given) -> torch.Tensor:
    return make_measure("variational").encode(describe(*given)).total


@pytest.mark.parametrize(
    ("make", "kind", "known"),
    [
        (Linear, "concept", 277),
        (Linear, "xor", 2013),
        (Linear, "random", 2014),
        pytest.param(MLP, "xor", 893, marks=pytest.mark.slow),
        pytest.param(MLP, "random", 2025, marks=pytest.mark.slow),
    ],
)
def test_bits_of_heads_that_trained_to_be_short(make, kind, known, trainer, tmp_path):
    """Against the figures of another implementation on data of the same kind."""
    examples = signals(kind, N)
    prior, given = build_prior("simplicity"), {} if make is Linear else {"hidden": 32}
    heads = population(
        trainer,
        tmp_path / "fit",
        lambda **sizes: make(**sizes, **given),
        prior,
        examples,
        examples,
        epochs=100,
        patience=100,
    )
    bits = total(heads.reporter, heads.weights, examples.z_NLD, examples.human_N).item()
    assert bits == pytest.approx(known, rel=0.25 if known < N else 0.02)


def test_a_head_of_zeros_costs_a_bit_a_label_and_the_name_of_nothing():
    weights = {"weight_1D": torch.zeros(1, 1, 1, 1, 8), "bias": torch.zeros(1, 1, 1)}
    bits = total(Linear(1, 8), weights, normal(N, 1, 8), coins(N)).item()
    # log2 9: none of 8.
    assert bits == pytest.approx(N + 1 + 3.17, abs=0.1)


def test_one_weight_that_is_always_right_costs_its_name_and_scale_and_little_else():
    human_N = coins(N)
    z_NLD = normal(N, 1, 64)
    z_NLD[:, 0, 5] = 2 * human_N - 1
    weights = {"weight_1D": torch.zeros(1, 1, 1, 1, 64), "bias": torch.zeros(1, 1, 1)}
    weights["weight_1D"][..., 5] = 30.0
    # That some are 0, that one of 64 is not, which.
    named = 1 + 6.02 + 6
    assert named + 6 < total(Linear(1, 64), weights, z_NLD, human_N).item() < named + 6 + 5


def test_rescaling_the_layers_of_a_relu_head_changes_no_bits():
    class Rectified(MLP):
        def forward(self, z_NLD):
            hidden_HN = F.relu(self.inner_HD @ z_NLD.flatten(1).T + self.inner_bias_H[:, None])
            return (
                super()
                .forward(z_NLD)
                ._replace(log_odds_NT=(self.outer_1H @ hidden_HN).T + self.outer_bias)
            )

    head, examples = Rectified(1, 16, hidden=8), signals("concept", 500, width=16)
    plain = {name: value.detach()[None, None, None] for name, value in head.named_parameters()}
    scales = {"inner_HD": 100.0, "inner_bias_H": 100.0, "outer_1H": 0.01, "outer_bias": 1.0}
    scaled = {name: value * scales[name] for name, value in plain.items()}

    def bits(weights: dict[str, torch.Tensor], reporter: Reporter = head) -> float:
        return total(reporter, weights, examples.z_NLD, examples.human_N).item()

    assert bits(scaled) == pytest.approx(bits(plain), rel=1e-3)
    louder = plain | {"outer_1H": plain["outer_1H"] * 100}
    assert bits(louder) != pytest.approx(bits(plain), rel=1e-2)
