"""The page's findings: the answer in words, the heads of each prior as dots, and whom heads follow
against strength or level.
"""

from __future__ import annotations

from html import escape

import pandas as pd

from report import figures
from report.answer import compute_translator_shares, format_mean, format_prior
from report.bimodality import find_differing_predictors, find_two_modes
from report.columns import get_heading
from report.comparison import Compared
from report.drawing import Drawing
from report.intervals import N_CLAIMS, Mean, estimate_column, group_by_prior
from report.lines import KINDS
from report.page.html import allow_breaks, render_figure, render_section
from report.plots import COLOURS
from report.settling import describe_settled, describe_unsettled, keep_settled

Drawings = dict[str, Drawing]
"""The page's drawings by name, with which the page finds the head of each dot."""
MEANINGS = {
    "direct_translator": "reads the predictor's concept X",
    "human_imitator": "answers as the human would",
    "mixture": "follows each in some cases",
    "neither": "follows neither",
    "undecided": "the evidence does not decide",
}
TITLES = {
    "strength": "Whom heads follow, against strength",
    "level": "Whom heads follow, by the level they read",
}


def sort_groups(heads: pd.DataFrame) -> list[tuple[tuple[str, str], pd.DataFrame]]:
    """Returns the shown heads of each reporter and prior, those with most translators among their
    settled heads first, then those that follow X most; last those without settled heads.
    """

    def rank(item: tuple[tuple[str, str], pd.DataFrame]) -> tuple[str, bool, float, float]:
        (reporter, _), group = item
        settled = keep_settled(group)
        if settled.empty:
            return reporter, True, 0.0, 0.0
        return reporter, False, -settled["translator"].mean(), -settled["follows_concept"].mean()

    return sorted(group_by_prior(heads), key=rank)


def render_answer(part: Compared, anchor: str, drawings: Drawings | None) -> str:
    """Returns the answer and its figure, and adds the figure's drawings; the answer alone where the
    setting is not drawn.
    """
    answer = part.answer
    details = "".join(f"<p>{escape(sentence)}</p>" for sentence in answer.details)
    settled = "" if part.matched.empty else describe_settled(part.heads)
    words = " ".join(filter(None, [settled, answer.scope, part.level]))
    scope = f'<p class="scope">{escape(words)}</p>'
    words = (
        f'<p class="headline">{escape(answer.headline)}</p>'
        f'<div class="details">{details}{scope}</div>'
    )
    return words if drawings is None else words + _render_strips(part.shown, anchor, drawings)


def render_panels(
    heads: pd.DataFrame, table: pd.DataFrame, key: str, anchor: str, drawings: Drawings
) -> str:
    """Returns the panels of whom heads follow against their strength, or their level, and adds
    their drawings.
    """
    several = table["reporter"].nunique() > 1
    cells = ""
    for i, panel in enumerate(figures.draw_panels(heads, table, key)):
        name = f"{anchor}-{key}-{i}"
        drawings[name] = panel.drawing
        prior = format_prior(panel.reporter, panel.prior, several)
        is_own = (table["reporter"] == panel.reporter) & (table["prior"] == panel.prior)
        caption = _describe_modes(table[is_own], key)
        label = f"Share that follows X against {key}, {prior}"
        figure = render_figure(panel.drawing.render_svg(), name, caption, label)
        cells += f"<div><h4>{escape(prior)}</h4>{figure}</div>"
    explanation = (
        "Each dot is a head, a hollow one if it has not settled. The black line is the mean of"
        " settled heads over predictors, and the band is its 95% interval (for each mean by"
        " itself). A hollow point is the mean of two modes and describes neither."
    )
    if table["prior"].nunique() > 1:
        explanation += " Grey lines: the other priors; dashed line: without a prior."
    explanation += " Click a dot to see its evidence."
    if key == "level":
        explanation += " Each prior is shown at its strength of matched accuracy."
    content = f'<div class="panels">{cells}</div>' if cells else ""
    return render_section(f"{anchor}-{key}", TITLES[key], explanation, content)


def render_legend(heads: pd.DataFrame) -> str:
    """Returns the meaning of the colours, and that of hollow dots where there are any."""
    items = ""
    for kind in KINDS:
        if kind in COLOURS:
            name = kind.replace("_", " ")
            items += f'<li><i class="dot {kind}"></i><b>{name}</b> {MEANINGS[kind]}</li>'
    if not heads["settled"].all():
        items += '<li><i class="dot hollow"></i><b>hollow</b> has not settled, in no mean</li>'
    return f'<ul class="legend">{items}</ul>'


def _describe_modes(table: pd.DataFrame, key: str) -> str:
    n = (table["two_modes"] != "").sum()
    if n == 0:
        return ""
    return f" <span>{n} of its {key}s {'has' if n == 1 else 'have'} two modes.</span>"


def _render_strips(heads: pd.DataFrame, anchor: str, drawings: Drawings) -> str:
    several = heads["reporter"].nunique() > 1
    shares = compute_translator_shares(heads)
    strips = ""
    for i, (key, group) in enumerate(sort_groups(heads)):
        name = f"{anchor}-strip-{i}"
        drawings[name] = figures.draw_strip(group, len(shares))
        prior = format_prior(*key, several)
        settled = keep_settled(group)
        follows = estimate_column(settled, "follows_concept", N_CLAIMS * len(shares))
        label = (
            f"Heads of {prior}: share of disputed episodes on which each head follows X;"
            f" mean {format_mean(follows)}"
        )
        figure = render_figure(drawings[name].render_svg(), name, "", label)
        numbers = f"<span>{describe_unsettled(group)}</span>"
        if key in shares:
            numbers = _render_numbers(settled, shares[key], follows)
        strips += (
            f'<div class="strip"><div class="who"><b>{allow_breaks(prior)}</b></div>{figure}'
            f'<div class="what">{numbers}</div></div>'
        )
    ticks = "<span>0<br>imitates the human</span><span>0.5</span><span>1<br>reads X</span>"
    axis = f'<div class="strip axis"><div></div><div class="ticks">{ticks}</div><div></div></div>'
    explanation = (
        "Figure 1. Share of disputed episodes on which a head follows the concept X, at matched"
        " accuracy. Each dot is a head; dots with similar values are stacked. The diamond is the"
        " mean of settled heads over predictors, and the bar is its 95% interval, for the"
        " translators and the follows X of all rows together. A hollow diamond is the mean of two"
        " modes and describes neither. Click a dot to see its evidence."
    )
    note = f'<p class="said">{explanation}</p>'
    return f'<div class="strips">{render_legend(heads)}{strips}{axis}{note}</div>'


def _render_numbers(heads: pd.DataFrame, translators: Mean, follows: Mean) -> str:
    """Returns the numbers beside a strip, its two modes where it has them, and whether predictors
    differ.
    """
    numbers = (
        f"<span>{get_heading('translators')} {format_mean(translators)}</span>"
        f"<span>{get_heading('follows_concept')} {format_mean(follows)}</span>"
    )
    follows_K = heads["follows_concept"].to_numpy(float)
    predictor_K = heads["predictor"].to_numpy(object)
    modes = find_two_modes(follows_K, predictor_K)
    if modes:
        numbers += f'<em class="modes">two modes, {modes.describe_positions()}</em>'
    differing = find_differing_predictors(follows_K, predictor_K)
    if differing:
        numbers += f'<em class="modes">predictors differ, {differing.describe()}</em>'
    return numbers
