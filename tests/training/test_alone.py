"""A head in company is the head it would be alone, in float64 to 1e-10: whatever the reporter and
the prior, and in a population of hundreds with a head that is not a number among them.
"""

from functools import partial
from typing import Any

import pytest
import torch

from reporters.layered import Layered
from reporters.linear import Linear
from reporters.mlp import MLP
from reporters.reporter import Reporter
from tests.priors.made import PRIORS
from tests.reporters.made import REPORTERS, get_maker, list_self_fitted
from tests.training.made import planted, population, unpruned
from training.examples import Examples

SHORT: dict[str, Any] = {"epochs": 3, "batch_size": 32}


def double(examples: Examples) -> Examples:
    return Examples(examples.z_NLD.double(), examples.human_N.double())


def of_level(examples: Examples, level: int) -> Examples:
    return examples._replace(z_NLD=examples.z_NLD[:, [level]])


TINY, HELD_OUT = (
    double(planted(n, inputs=2, width=6, levels=2, noise=1.0, seed=seed))
    for n, seed in ((128, 0), (64, 1))
)

# Among a few heads: every reporter under one prior, and every prior on one reporter.

TRAINED = [name for name in REPORTERS if name not in list_self_fitted()]
STAR = [(name, "simplicity_and_speed") for name in TRAINED]
STAR += [("layered", prior) for prior in PRIORS if prior != "simplicity_and_speed"]


@pytest.mark.parametrize(("reporter", "prior"), STAR)
def test_a_head_alone_is_the_same_head_in_company(reporter, prior, trainer, tmp_path):
    def make(n_levels: int, width: int) -> Reporter:
        return get_maker(reporter, most=4)(n_levels=n_levels, width=width).double()

    one_level = make(1, 6).reads == "one_level"
    fit = partial(population, trainer, tmp_path / "fit", make, unpruned(prior), order="own")
    company = fit(TINY, HELD_OUT, seeds=(0, 1, 2), strengths=(0.25, 1.0), **SHORT)
    data = [of_level(examples, 1) if one_level else examples for examples in (TINY, HELD_OUT)]
    levels = [1] if one_level else None
    alone = fit(*data, levels=levels, seeds=(2,), strengths=(1.0,), **SHORT)
    group = 1 if one_level else 0
    for name, value in alone.weights.items():
        company_SM = company.weights[name][group]
        torch.testing.assert_close(company_SM[2, 1], value[0, 0, 0], rtol=0, atol=1e-10)
        # Another seed's head is another head; a single number may start alike for all.
        assert value.dim() == 3 or (company_SM[1, 1] - value[0, 0, 0]).abs().max() > 1e-3
    k = company.table.index(alone.table[0])
    torch.testing.assert_close(
        company.validation_nll_K[k], alone.validation_nll_K[0], rtol=0, atol=1e-10
    )


# Among hundreds of heads, one of them not a number.

MAKE = {"linear": Linear, "layered": Layered, "mlp": partial(MLP, hidden=3)}
SICK, LAST = 100, 239
HUNDREDS = [(name, "simplicity", [0.01, 0.04]) for name in MAKE]
HUNDREDS += [("linear", prior, 0.02) for prior in ("none", "speed", "circuit_size")]


@pytest.mark.parametrize(("reporter", "prior", "rates"), HUNDREDS)
def test_a_head_among_960_is_the_head_that_it_would_be_alone(
    reporter, prior, rates, trainer, tmp_path
):
    def make(n_levels: int, width: int) -> Reporter:
        head = MAKE[reporter](n_levels=n_levels, width=width).double()
        if torch.initial_seed() == SICK:
            next(iter(head.parameters())).data.flatten()[0] = torch.nan
        return head

    fit = partial(population, trainer, tmp_path / "fit", make, unpruned(prior), TINY, HELD_OUT)
    company = fit(seeds=range(LAST + 1), strengths=(0.5, 2.0), learning_rate=rates, **SHORT)
    assert len(company.table) == (960 if company.reporter.reads == "one_level" else 480)
    rate = rates[1] if isinstance(rates, list) else rates
    alone = fit(seeds=(LAST,), strengths=(2.0,), learning_rate=rate, **SHORT)
    for name, value in alone.weights.items():
        torch.testing.assert_close(
            company.weights[name][:, LAST, 1], value[:, 0, 0], rtol=0, atol=1e-10
        )
    well = [seed != SICK for _, seed, _ in company.table]
    assert torch.equal(company.validation_nll_K.isfinite(), torch.tensor(well))
