"""Schedules: ramps in straight lines, a rate for each strength, and values that are refused."""

import pytest

from console.errors import UserError
from tests.experiments.made import build_job
from tests.training.made import schedule


def test_the_charge_rises_in_a_straight_line_to_full_strength():
    ramped = schedule(ramp=0.4)
    shares = [ramped.strength_share(progress) for progress in (0.0, 0.1, 0.2, 0.4, 0.9)]
    assert shares == pytest.approx([0, 0.25, 0.5, 1, 1])
    assert schedule(ramp=0.0).strength_share(0.0) == 1


def test_the_halting_bonus_holds_and_then_falls_in_a_straight_line():
    falling = schedule(halting_bonus=0.3, bonus_from=0.4, bonus_to=0.8)
    bonuses = [falling.bonus(progress) for progress in (0.0, 0.4, 0.5, 0.6, 0.8, 1.0)]
    assert bonuses == pytest.approx([0.3, 0.3, 0.225, 0.15, 0, 0])


def test_a_bonus_that_ends_where_it_begins_to_fall_ends_at_once():
    sudden = schedule(halting_bonus=0.3, bonus_from=0.5, bonus_to=0.5)
    bonuses = [sudden.bonus(progress) for progress in (0.0, 0.49, 0.5, 1.0)]
    assert bonuses == pytest.approx([0.3, 0.3, 0, 0])


@pytest.mark.parametrize(
    ("changed", "has_exits", "epochs"),
    [
        ({"ramp": 0.5, "bonus_to": 0.9}, False, 10),
        ({"ramp": 0.5, "bonus_to": 0.75}, True, 15),
        ({"ramp": 0.9, "bonus_to": 0.75}, True, 18),
        ({"ramp": 0.51, "bonus_to": 0.75}, False, 11),
    ],
)
def test_charge_and_bonus_settle_with_the_later_of_both_and_a_head_without_exits_has_no_bonus(
    changed, has_exits, epochs
):
    assert schedule(epochs=20, **changed).count_settling_epochs(has_exits) == epochs


def test_every_strength_has_a_rate_and_a_wrong_number_of_rates_is_refused():
    assert schedule(learning_rate=None).list_rates(2, 0.3) == [0.3, 0.3]
    assert schedule(learning_rate=0.1).list_rates(3, 0.3) == [0.1, 0.1, 0.1]
    assert schedule(learning_rate=[0.1, 0.2]).list_rates(2, 0.3) == [0.1, 0.2]
    with pytest.raises(
        UserError, match=r"training.learning_rate: \[0.1, 0.2\] are 2 for 3 strengths"
    ):
        schedule(learning_rate=[0.1, 0.2]).list_rates(3, 0.3)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("epochs", 0),
        ("batch_size", 0),
        ("learning_rate", 0.0),
        ("learning_rate", [0.1, 0.0]),
        ("clip", 0.0),
        ("ramp", 1.5),
        ("bonus_from", 0.9),
        ("bonus_to", 1.1),
        ("patience", -1),
    ],
)
def test_a_schedule_that_cannot_be_kept_is_refused(key, value):
    with pytest.raises(UserError, match=f"training.{key}"):
        schedule(**{key: value})


def test_the_best_epoch_needs_a_patience_and_the_last_does_not():
    assert schedule(keep="last", patience=None).patience is None
    with pytest.raises(UserError, match=r"training.patience: it is null, and training.keep=best"):
        schedule(keep="best", patience=None)


@pytest.mark.parametrize("name", ["data_size", "double_descent"])
def test_experiments_whose_heads_meet_errors_from_the_start_refuse_another_value(name):
    jobs = {"world": {}, "core_model": {}, "optimizer": "auto"}
    if name == "double_descent":
        jobs["world"], jobs["optimizer"] = {"label_noise": 0.2}, "adamw"
    with pytest.raises(
        UserError, match=rf"^training\.errors: heads of {name} meet all .*from_start"
    ):
        build_job(name, schedule={"errors": "after_settling"}, **jobs)
    assert schedule().check_from_start(name) is None


def test_a_second_training_is_as_long_with_the_whole_charge_and_no_bonus():
    second = schedule(ramp=0.4, halting_bonus=0.3).continue_at_full_strength()
    assert second.strength_share(0.0) == 1 and second.bonus(0.0) == 0
    assert (second.epochs, second.keep) == (schedule().epochs, schedule().keep)
