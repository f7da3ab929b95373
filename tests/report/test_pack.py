"""The page's data says of every head what heads.parquet says, each figure once."""

import re

import pandas as pd

from report.page.pack import RATES, SPOKEN, WORDS, columns

RATES_OF = {
    "follows_concept": (0.625, 0.5849, 0.7151),
    "nde": (0.301, -0.004, 0.6),
    "access_head": (0.4, 0.3, 0.5),
}
SAID = (
    "It follows X on {} of 2,000 disputed episodes; changing only X moves the report by {}; yes in"
    " the head ({}). So it is a mixture, {} of it X."
)


def written(rates: tuple[float, float, float]) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*rates)


def head(reason: str) -> pd.DataFrame:
    rates = {
        f"{name}{end}": value
        for name, three in RATES_OF.items()
        for end, value in zip(("", "_low", "_high"), three, strict=True)
    }
    row = (
        dict.fromkeys(WORDS, "word")
        | {
            "setting": 0,
            "strength": 1.0,
            "level": None,
            "seed": 0,
            "matched": True,
            "reason": reason,
        }
        | rates
    )
    return pd.DataFrame([row])


def told(packed: dict, k: int) -> str:
    """Returns a head's reason as the page puts it together."""
    reason = packed["reason"]["words"][packed["reason"]["codes"][k]]
    return re.sub(
        r"\{(\w+)\}",
        lambda name: written(tuple(column[k] / 100 for column in packed["rates"][name[1]])),
        reason,
    )


def test_a_reason_is_put_together_as_it_was_and_holds_no_rate_twice():
    reason = SAID.format(*map(written, (*RATES_OF.values(), RATES_OF["follows_concept"])))
    packed = columns(head(reason))
    kept = packed["reason"]["words"][0]
    assert kept.count("{follows_concept}") == 2
    assert "{access_head}" in kept
    assert told(packed, 0) == reason


def test_what_a_reason_says_otherwise_than_the_columns_stays_as_it_is():
    reason = SAID.format("0.99 [0.98, 1.00]", "0.30 [-0.00, 0.60]", "0.40", "0.62")
    packed = columns(head(reason))
    assert "{" not in packed["reason"]["words"][0]
    assert told(packed, 0) == reason


def test_every_rate_that_is_spoken_is_a_column_of_a_head():
    assert {name for name, _ in SPOKEN} - set(RATES) == {"access_head", "access_predictor"}
