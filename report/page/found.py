"""What was found: the answer in words, the figure that shows it, and whom heads follow against
strength.
"""

from __future__ import annotations

from html import escape

import pandas as pd

from report import figures
from report.answer import Answer, name, translators, written
from report.bimodality import heaps
from report.drawing import Drawing
from report.intervals import by_prior, mean
from report.lines import KINDS
from report.page.html import breakable, figure, section
from report.plots import COLOURS

Drawn = dict[str, Drawing]
"""The drawings of a page by their names, so that each dot can be led to its head."""


def rows(heads: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Returns the matched heads of each reporter and prior, those with most translators first, then
    those that follow X most.
    """
    return sorted(
        by_prior(heads),
        key=lambda item: (
            item[0][0],
            -item[1]["translator"].mean(),
            -item[1]["follows_concept"].mean(),
        ),
    )


def first(heads: pd.DataFrame, answer: Answer, place: str, drawn: Drawn) -> str:
    """Returns the answer and its figure."""
    said = "".join(f"<p>{escape(words)}</p>" for words in answer.more)
    return (
        f'<p class="headline">{escape(answer.headline)}</p><div class="more">{said}<p'
        f' class="reach">{escape(answer.reach)}</p></div>' + _strips(heads, place, drawn)
    )


def against(heads: pd.DataFrame, table: pd.DataFrame, key: str, place: str, drawn: Drawn) -> str:
    """Returns the panels of whom heads follow against their strength, or their level."""
    several, cells = table["reporter"].nunique() > 1, []
    for number, (reporter, prior, drawing) in enumerate(
        figures.panels(heads, table, key, whole=False)
    ):
        mark = f"{place}-{key}-{number}"
        drawn[mark] = drawing
        words = name(reporter, prior, several)
        two = table[
            (table["reporter"] == reporter) & (table["prior"] == prior) & (table["two_heaps"] != "")
        ]
        told = (
            f" <span>{len(two)} of its {key}s {'makes' if len(two) == 1 else 'make'} two"
            " heaps.</span>"
            if len(two)
            else ""
        )
        cells.append(
            f"<div><h4>{escape(words)}</h4>{figure(drawing.svg(), mark, told, f'Share that follows X against {key}, {words}')}</div>"
        )
    others = (
        ""
        if table["prior"].nunique() == 1
        else " Grey lines: the other priors; dashed: without a prior."
    )
    how = (
        "A dot is a head. Black: the mean over predictors, the band its 95% interval (each mean by"
        f" itself); a hollow point is a mean of two heaps, which describes neither.{others} Click a"
        " dot for its evidence."
        + (" Each prior at its strength of matched accuracy." if key == "level" else "")
    )
    title = {
        "strength": "Whom heads follow, against strength",
        "level": "Whom heads follow, by the level they read",
    }[key]
    return section(
        f"{place}-{key}", title, how, f'<div class="panels">{"".join(cells)}</div>' if cells else ""
    )


def legend() -> str:
    """Returns what the colours mean."""
    meaning = {
        "direct_translator": "reads the predictor's concept X",
        "human_imitator": "says what the human would",
        "mixture": "each in a share of cases",
        "neither": "follows neither",
        "undecided": "the evidence does not decide",
    }
    marks = "".join(
        f'<li><i class="dot {kind}"></i><b>{kind.replace("_", " ")}</b> {meaning[kind]}</li>'
        for kind in KINDS
        if kind in COLOURS
    )
    return f'<ul class="legend">{marks}</ul>'


def _strips(heads: pd.DataFrame, place: str, drawn: Drawn) -> str:
    several, shares, lines = heads["reporter"].nunique() > 1, translators(heads), []
    for number, (key, group) in enumerate(ordered := rows(heads)):
        follows, names = (
            group["follows_concept"].to_numpy(float),
            group["predictor"].to_numpy(object),
        )
        mark = f"{place}-strip-{number}"
        drawn[mark] = figures.strip(group, len(ordered))
        said, two = mean(follows, names, len(ordered), (0.0, 1.0)), heaps(follows, names)
        words = f"<b>{breakable(name(*key, several))}</b>"
        told = f'<em class="two">{escape(two.words().split(" (")[0])}</em>' if two else ""
        said_too = (
            f"<span>translators {written(shares[key])}</span><span>follows X"
            f" {written(said)}</span>{told}"
        )
        label = (
            f"Heads of {name(*key, several)}: share of disputed episodes on which each follows X;"
            f" mean {written(said)}"
        )
        lines.append(
            '<div class="strip"><div'
            f' class="who">{words}</div>{figure(drawn[mark].svg(), mark, "", label)}<div'
            f' class="what">{said_too}</div></div>'
        )
    ticks = "<span>0<br>imitates the human</span><span>0.5</span><span>1<br>reads X</span>"
    axis = f'<div class="strip axis"><div></div><div class="ticks">{ticks}</div><div></div></div>'
    how = (
        "Figure 1. Share of disputed episodes on which a head follows the concept X, at matched"
        " accuracy. A dot is a head, dots stand upon each other; the diamond is the mean over"
        " predictors, the bar its 95% interval, together for all rows. Hollow: two heaps, so the"
        " mean describes neither. Click a dot for its evidence."
    )
    return f'<div class="strips">{legend()}{"".join(lines)}{axis}<p class="said">{how}</p></div>'
