"""The plan of a run holds its config's values, and refuses what cannot run."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from configs.plan import Plan, Sizes, read_plan
from console.errors import UserError

SIZES = {"train": 64, "validation": 16, "test": 8, "disputed": 20, "twins": 10, "probe": 12}
CONFIG = {"seed": 3, "seeds": 2, "strengths": [0.25, 1], "levels": [4, 1], "data": SIZES}


@dataclass
class RecordingBill:
    """A bill that remembers what it was checked with."""

    n_train: int | None = None

    def check(self, n_train: int) -> None:
        self.n_train = n_train


@dataclass
class RecordingJudge:
    """A judge that remembers the number of heads that it was checked with."""

    n_heads: int | None = None

    def check_heads(self, n_heads: int) -> None:
        self.n_heads = n_heads


def make_parts(
    charges: bool = True, reads_one_level: bool = True, compares: bool = True
) -> SimpleNamespace:
    """Returns the parts that a plan depends on: a prior, a bill, a judge, a reporter, a predictor
    of five levels, and a world of 100 easy episodes and 40 disputed ones.
    """

    def describe_shortage(easy: int, disputed: int, twins: int) -> str | None:
        if disputed > 40:
            return f"{disputed} disputed are too many."
        return f"{easy} are too many." if easy > 100 else None

    world = SimpleNamespace(
        name="rows",
        describe_shortage=describe_shortage,
        compares=compares,
        undecidable=None,
        count=lambda split: 40,
    )

    return SimpleNamespace(
        prior=SimpleNamespace(charges=charges),
        bill=RecordingBill(),
        verdict=RecordingJudge(),
        reads_one_level=reads_one_level,
        core_model=SimpleNamespace(count_levels=lambda: 5),
        world=world,
    )


def test_a_plan_holds_the_values_of_its_config():
    plan = read_plan(CONFIG, make_parts())
    assert plan == Plan(3, 2, 1, False, [0.25, 1], [4, 1], Sizes(**SIZES))


def test_disputed_episodes_that_examine_the_predictor_count_only_where_x_and_h_are_compared():
    sizes = {"data": SIZES | {"disputed": 29}}
    with pytest.raises(UserError, match="world: 41 disputed are too many"):
        read_plan(CONFIG | sizes, make_parts())
    assert read_plan(CONFIG | sizes, make_parts(compares=False)).sizes.disputed == 29


def test_planted_heads_are_refused_where_all_disputed_episodes_judge():
    with pytest.raises(UserError) as refused:
        read_plan(CONFIG | {"planted_costs": True}, make_parts())
    assert str(refused.value) == (
        "planted_costs: the world rows has 40 disputed episodes and makes no others, and planted"
        " heads need some apart from those that judge. Use planted_costs=false."
    )
    parts = make_parts()
    parts.world.count = lambda split: None
    assert read_plan(CONFIG | {"planted_costs": True}, parts).planted_costs


def test_a_prior_that_charges_nothing_has_one_strength():
    assert read_plan(CONFIG, make_parts(charges=False)).strengths == [0.0]


def test_a_strength_of_minus_zero_is_zero():
    (strength,) = read_plan(CONFIG | {"strengths": [-0.0]}, make_parts()).strengths
    assert f"{strength:g}" == "0"


@pytest.mark.parametrize(
    ("levels", "charges", "reads_one_level", "n_heads"),
    [
        ([4, 1], True, True, 8),
        (None, True, True, 20),
        (None, False, True, 10),
        (None, True, False, 4),
    ],
)
def test_the_judge_checks_the_number_of_heads(levels, charges, reads_one_level, n_heads):
    """Two head seeds and two strengths, of each level where a head is given one."""
    parts = make_parts(charges, reads_one_level)
    read_plan(CONFIG | {"levels": levels}, parts)
    assert parts.verdict.n_heads == n_heads


def test_the_bill_checks_the_number_of_training_episodes():
    parts = make_parts()
    read_plan(CONFIG, parts)
    assert parts.bill.n_train == 64


def test_head_seeds_begin_at_the_seed_of_the_run():
    assert list(read_plan(CONFIG, make_parts()).head_seeds) == [3, 4]


@pytest.mark.parametrize(("levels", "chosen"), [([4, 1], (1, 4)), ([0], (0,)), (None, (0, 1, 2))])
def test_levels_are_read_shallowest_first_and_null_reads_all(levels, chosen):
    assert read_plan(CONFIG | {"levels": levels}, make_parts()).choose_levels(3) == chosen


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": -1}, "seed: -1 is negative"),
        ({"seeds": 0}, "seeds: 0 is too few"),
        ({"seeds": "two"}, "seeds: 'two' is not a whole number"),
        ({"levels": []}, r"levels: \[\] must name levels"),
        ({"levels": [1, 1]}, r"levels: \[1, 1\] must name levels"),
        ({"levels": [2, 5]}, r"levels: the core model has no level 5\. It has 0 to 4\."),
        ({"data": SIZES | {"probe": 13}}, r"world: 101 are too many\."),
        ({"data": SIZES | {"train": 5_000_000_000}}, r"data\.train: 5000000000 is too large\."),
        ({"levels": [-1]}, r"levels: \[-1\] must name levels"),
        ({"strengths": []}, r"strengths: \[\] must be finite"),
        ({"strengths": [-1.0]}, r"strengths: \[-1\.0\] must be finite"),
        ({"strengths": [float("inf")]}, r"strengths: inf is too large\. Use 1000000 at most\."),
        ({"strengths": [1, 1.0, 2]}, r"strengths: \[1, 1\.0, 2\] names a strength twice"),
        ({"strengths": [0, -0.0]}, r"strengths: \[0, 0\.0\] names a strength twice"),
        ({"data": SIZES | {"test": 1}}, r"data\.test: 1 is too few"),
        ({"data": SIZES | {"trian": 5}}, r"data\.trian: .* Did you mean train\?"),
        ({"data": {"train": 64}}, r"data\.validation: it has no value"),
    ],
)
def test_values_that_cannot_run_are_refused_by_their_key(changed, message):
    with pytest.raises(UserError, match=f"^{message}"):
        read_plan(CONFIG | changed, make_parts())
