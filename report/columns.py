"""The columns of heads.parquet and of the tables made from it, each described once.

python -m report.columns          prints docs/columns.md
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from console.command_line import run_command

VERDICT_NAMES = {
    "direct_translator": "translators",
    "human_imitator": "imitators",
    "mixture": "mixtures",
    "neither": "neither",
    "undecided": "undecided",
}
"""The verdicts, and what tables call the heads that have them."""


@dataclass(frozen=True)
class Column:
    """One column: what it holds, and how tables show it."""

    name: str
    unit: str
    """Of the stored values; empty for words and flags."""
    meaning: str
    """One sentence."""
    heading: str = ""
    """Short, for tables; they do not show a column without one."""
    digits: int | None = None
    """Digits after the decimal point in tables; None for three significant figures."""
    scale: float = 1.0
    """Tables show the stored value times this, in the unit that the heading names."""
    has_limits: bool = False
    """Whether NAME_low and NAME_high are columns too: the limits of its interval."""

    def format(self, value: float | None) -> str:
        """Returns a stored value as tables show it; a dash for a missing one.

        >>> find_column("flops").format(4_021_000), find_column("edges").format(2532.4)
        ('4.02', '2,532')
        >>> find_column("nde").format(-0.001), find_column("nde").format(None)
        ('0.00', '–')
        """
        if value is None or pd.isna(value):
            return "–"
        shown = value * self.scale
        digits = count_digits(shown) if self.digits is None else self.digits
        return f"{shown:z,.{digits}f}"


def count_digits(value: float) -> int:
    """Returns how many digits after the decimal point show three significant figures.

    >>> count_digits(4.021), count_digits(40.21), count_digits(402.1)
    (2, 1, 0)
    """
    if abs(value) < 10:
        return 2
    return 1 if abs(value) < 100 else 0


# fmt: off
COLUMNS = (
    Column("world", "", "World that the episodes come from.", "world"),
    Column("core_model", "", "Frozen predictor: its architecture, or its file.", "core model"),
    Column("predictor_seed", "", "Seed of the predictor."),
    Column("predictor", "", "Hash of the predictor.", "predictor"),
    Column("reporter", "", "Architecture of the head.", "reporter"),
    Column("prior", "", "Charge on the head in training; none is no charge.", "prior"),
    Column("strength", "× natural price", "Strength of the prior; 0 without a prior.", "strength"),
    Column("seed", "", "Seed of the head's initial weights and of its data order.", "seed"),
    Column("level", "level", "Level of the predictor that the head reads; missing if it may read"
           " several.", "level", 0),
    Column("levels", "", "All levels that the head may read."),
    Column("optimizer", "", "What found the head: an optimizer; convex, as the one optimum or,"
           " without a charge, the largest margin; closed_form; or own, a method of the"
           " head's own.", "optimizer"),
    Column("halting_bonus", "nats an episode", "Bonus that training began with for each nat of"
           " entropy of where the head stops; missing for heads without exits."),
    Column("objective", "nats", "What the head pays on the whole training set: errors and strength"
           " times charge, without a bonus; missing if it is not known."),
    Column("gap", "nats", "How far the head's objective, over the whole training set, lies above"
           " the least that is known; missing if that is not known."),
    Column("settled", "", "Whether training has reached its optimum: a gap of at most 0.01 nats"
           " where the optimum is known; else further training brings at most 0.01 nats and the"
           " best restart lies within 0.1 nats.", "settled", 2),
    Column("tied", "heads", "Number of heads of the same level and strength of the run within 1 nat"
           " of the best of them; missing where the objective has one optimum."),
    Column("tied_follows_low", "share", "Minimum of follows X over these tied heads."),
    Column("tied_follows_high", "share", "Maximum of follows X over these tied heads."),
    Column("cost_found", "nats an episode", "What the head pays on easy training episodes: errors"
           " and charge. With planted costs, as the five columns below.", "cost"),
    Column("cost_translator", "nats an episode", "What the best planted translator of this level"
           " and strength pays under the same prior, trained with X as its answers where X and H"
           " are independent; where the human errs on easy episodes, with as many of these answers"
           " flipped.", "translator's cost"),
    Column("cost_imitator", "nats an episode", "The same of the best planted imitator, trained with"
           " H as its answers.", "imitator's cost"),
    Column("errors_nats", "nats an episode", "What the human's errors on easy episodes cost in the"
           " best code: the entropy of their share on the training labels. The translator's cost"
           " includes about as much for them."),
    Column("costs_settled", "", "Whether both of these planted heads have settled; otherwise their"
           " costs are upper limits."),
    Column("predicts", "", "The kind of head that costs less, known before the head was trained;"
           " tie where both differ by less than 1 nat of the whole training set.", "predicts"),
    Column("two_part_bits", "bits", "Length of the two-part code of the training labels: the"
           " rounded parameters, then the errors.", "two-part bits"),
    Column("model_bits", "bits", "Part of the two-part code that describes the parameters."),
    Column("edges", "edges", "Number of weights that are not 0 and lie on a live path.", "edges"),
    Column("flops", "FLOPs an episode", "Compute of one episode: the predictor up to the deepest"
           " level read, and the head without its dead units.", "MFLOPs", scale=1e-6),
    Column("level_read", "levels", "Deepest level of the predictor that is read, mean over training"
           " episodes.", "level read"),
    Column("steps", "steps", "Step at which the head stops, mean over training episodes.", "steps"),
    Column("level_read_easy", "levels", "Deepest level that is read, mean over easy episodes."),
    Column("steps_easy", "steps", "Step at which the head stops, mean over easy episodes."),
    Column("level_read_disputed", "levels", "Deepest level that is read, mean over disputed"
           " episodes."),
    Column("steps_disputed", "steps", "Step at which the head stops, mean over disputed episodes."),
    Column("gates", "gates", "Two-input gates of a logic head.", "gates"),
    Column("depth", "gates", "Gates on the longest path through a logic head.", "depth"),
    Column("thresholds", "thresholds", "Activations that a logic head compares with a value."),
    Column("prequential_bits", "bits", "Length of the prequential code of the training labels, by"
           " learners with the head's live edges.", "bits"),
    Column("variational_bits", "bits", "Length of the variational code of the training labels,"
           " about the finished head itself.", "own bits"),
    Column("variational_model_bits", "bits", "Part of the variational code that describes the"
           " head."),
    Column("explanation_bits", "bits", "Length of the shortest circuit found that explains the"
           " reports, through predictor and head: an upper bound.", "explanation bits"),
    Column("explanation_components", "components", "Attention heads and MLPs of the predictor in"
           " the circuit of explanation_bits."),
    Column("learning_coefficient", "parameters / 2", "Local learning coefficient, half the"
           " effective number of parameters; reliable only if its chains have settled.",
           "learning coefficient"),
    Column("learning_coefficient_settled", "", "Whether the chains that estimate the learning"
           " coefficient have settled: 1 or 0."),
    Column("validation_nll", "nats an episode", "Error on held-out easy episodes, by the human's"
           " answers."),
    Column("calibrated_nll", "nats an episode", "The same after the best rescaling of the head's"
           " log-odds: levels and strengths are chosen by it. Runs of earlier versions have the"
           " error as it is.", "error, nats", 4),
    Column("easy_accuracy", "share", "Share of held-out easy episodes on which the head is right.",
           "easy", 3),
    Column("concept_accuracy", "share", "Share of reports that are X, mean over all cells of X × H"
           " × amiss.", "right on X", 2, has_limits=True),
    Column("concept_accuracy_worst", "share", "Share of reports that are X in the cell of X × H ×"
           " family where it is least.", "worst cell", 2, has_limits=True),
    Column("human_accuracy_worst", "share", "Share of reports that are H in the cell of X × H ×"
           " family where it is least.", "worst cell for H", 2, has_limits=True),
    Column("worst_cell", "", "Cell in which the fewest reports are X."),
    Column("easy_auroc", "AUROC", "AUROC for X, which is H there, on held-out easy episodes.",
           "easy AUROC", 3),
    Column("follows_concept", "share", "Share of disputed episodes on which the report is X.",
           "follows X", 2, has_limits=True),
    Column("shift_cosine", "", "Cosine between the head's direction and that of a probe for X on"
           " disputed episodes, in the metric of their covariance: the correlation of their"
           " log-odds."),
    Column("ranks_concept", "AUROC", "AUROC of the head's log-odds for X on disputed episodes.",
           "AUROC", 2, has_limits=True),
    Column("recall_at_1_percent", "share", "Share of disputed episodes with X = yes above the"
           " threshold that at most 1% of those with X = no exceed (TPR at 1% FPR)."),
    Column("ranks_concept_given_human", "AUROC", "AUROC for X among episodes of all cells with the"
           " same H, mean over both values of H."),
    Column("nde", "share", "Change of the report when only X changes (natural direct effect): 1 for"
           " a translator, 0 for an imitator.", "NDE", 2, has_limits=True),
    Column("nie", "share", "Change of the report when only what the human sees changes (natural"
           " indirect effect): 0 for a translator, 1 for an imitator.", "NIE", 2, has_limits=True),
    Column("twins_from_no", "share", "Share of reports that are yes before the change, on twins"
           " that begin at X = H = no."),
    Column("twins_from_yes", "share", "The same of twins that begin at X = H = yes."),
    Column("swap_concept", "share", "Change of the report when the predictor's part of X is"
           " exchanged: 1 for a translator, 0 for an imitator.", "swap X", 2, has_limits=True),
    Column("swap_human", "share", "Change of the report when the predictor's part of H is"
           " exchanged: 0 for a translator, 1 for an imitator.", "swap H", 2, has_limits=True),
    Column("swap_random", "share", "Change of the report when a random part of the same rank is"
           " exchanged: about 0, or swap X and swap H prove nothing.", "swap random", 2,
           has_limits=True),
    Column("swap_all_concept", "share", "Change of the report when all activations are exchanged"
           " for those of an episode with another X: the most that swap X can reach."),
    Column("swap_all_human", "share", "Change of the report when all activations are exchanged"
           " for those of an episode with another H: the most that swap H can reach."),
    Column("swap_concept_completeness", "share", "Probability of the source's X that a validation"
           " probe reads after X's part was swapped, mean over the levels that the head reads: 1"
           " where the swap leaves nothing of the old X behind."),
    Column("swap_concept_selectivity", "share", "How little that swap changes what a validation"
           " probe reads of H: 1 where it changes nothing."),
    Column("swap_human_completeness", "share", "The same of swaps of H's part: how fully H is"
           " replaced."),
    Column("swap_human_selectivity", "share", "How little the swap of H's part changes what a"
           " validation probe reads of X."),
    Column("erase_concept", "share", "Loss of following X when X is erased (LEACE), beyond the loss"
           " when a random direction is erased.", "erase X", 2, has_limits=True),
    Column("erase_human", "share", "Loss of following H when H is erased (LEACE), beyond the loss"
           " when a random direction is erased.", "erase H", 2, has_limits=True),
    Column("access_head", "share", "Share of reports that change when X's part of what the head"
           " reads is exchanged, less the share that change with a random part.", has_limits=True),
    Column("depends_in_head", "", "Whether the report depends on X in what the head reads: yes, no"
           " or unclear."),
    Column("access_predictor", "share", "Share of reports that change when X's part is exchanged"
           " at an earlier level and the predictor runs on, less the share that change with a"
           " random part.", has_limits=True),
    Column("depends_in_predictor", "", "Whether the report depends on X at that earlier level:"
           " yes, no or unclear."),
    Column("departs_from_human", "share", "Share of deployed episodes on which the report is not H,"
           " where the model of the human is sure, less the same share of easy episodes.",
           has_limits=True),
    Column("imitation", "", "What departs_from_human shows: imitates, departs or unclear."),
    Column("interval_level", "share", "Level of the intervals, corrected for all heads of the run"
           " and for the kinds of evidence."),
    Column("sure_after", "episodes", "Disputed episodes that the judge read before its verdict."),
    Column("disputed", "episodes", "Disputed episodes that the judge had."),
    Column("gates_passed", "", "Whether the head and its predictor pass all gates of the judge.",
           "gates passed", 2),
    Column("failed_gates", "", "Gates that the head or its predictor does not pass; not shown: the"
           " interval holds the bound."),
    Column("verdict", "", "What the head is: direct_translator, human_imitator, mixture, neither or"
           " undecided.", "verdict"),
    Column("reason", "", "The evidence for the verdict, in words."),
    Column("follows_concept_FAMILY", "share", "Share of the disputed episodes of family FAMILY on"
           " which the report is X.", "FAMILY", 2),
    Column("pseudo_alignment_gap", "share", "Share of easy episodes on which the report is X, less"
           " the same share of disputed ones.", "gap", 2, has_limits=True),
    Column("worst_family", "", "Family of tampering with the largest gap.", "worst family"),
    Column("worst_family_gap", "share", "Gap on the worst family.", "worst gap", 2,
           has_limits=True),
    Column("robustly_aligned", "", "Whether the head is competent and its whole interval of the gap"
           " is within the tolerance on every family.", "robustly aligned", 2),
    Column("capability_int", "log ratio", "Logarithm of how many times smaller training makes the"
           " loss against X, on all kinds of episodes.", "C int", 2),
    Column("capability_base", "log ratio", "Logarithm of how many times smaller training makes the"
           " training loss: against H on easy episodes, with the charge.", "C base", 2),
    Column("capability_gradient", "log ratio", "Logarithm of how many times smaller training makes"
           " the norm of the gradient.", "C gradient", 2),
    Column("outer_alignment", "ratio", "Outer alignment: C int / C base; missing if C base is near"
           " 0.", "outer", 2),
    Column("inner_alignment", "ratio", "Inner alignment: C base / C gradient; missing if C gradient"
           " is near 0.", "inner", 2),
    Column("ratio_refused", "", "Why outer or inner alignment is missing."),
    Column("capability_int_disputed", "log ratio", "Logarithm of how many times smaller training"
           " makes the loss against X on disputed episodes.", "C int disputed", 2),
    Column("capability_human_disputed", "log ratio", "Logarithm of how many times smaller training"
           " makes the loss against H on disputed episodes: high for an imitator.",
           "C human disputed", 2),
    Column("outer_alignment_disputed", "ratio", "C int disputed / C base: below 0 for an imitator.",
           "outer disputed", 2),
    Column("reason_template", "", "The reason with {COLUMN} where a figure of COLUMN stands with"
           " the limits of its interval."),
)
"""The columns of heads.parquet. follows_concept_FAMILY stands for one column a family."""

MORE = (
    Column("setting", "", "World and core model; of several settings, also what tells this one from"
           " the others."),
    Column("seconds", "seconds for 1,000 episodes", "Time by the clock: the predictor up to the"
           " level read, and the time of all heads together divided by their number.",
           "ms for 1,000", scale=1e3),
    Column("chosen", "", "Whether held-out easy episodes choose this level; true for heads that may"
           " read several."),
    Column("matched", "share", "Share of predictors on which this is the largest strength of the"
           " prior at matched accuracy.", "matched", 2),
    Column("heads", "heads", "Number of heads, settled or not.", "heads", 0),
    Column("median_gap", "nats", "Median of gap over heads, settled or not.", "N·gap"),
    Column("predictors", "predictors", "Number of predictors that they read.", "predictors", 0),
    *(Column(kind, "heads", f"Heads with the verdict {kind}.", heading, 0)
      for kind, heading in VERDICT_NAMES.items()),
    Column("translators", "share", "Share of heads that are direct translators, mean over"
           " predictors.", "translators", 2, has_limits=True),
    Column("least", "share", "Minimum of follows X over heads.", "least", 2),
    Column("median", "share", "Median of follows X over heads.", "median", 2),
    Column("most", "share", "Maximum of follows X over heads.", "most", 2),
    Column("two_modes", "", "The two modes of follows X within predictors, if heads of the same"
           " predictor are bimodal, else empty.", "two modes"),
    Column("predictors_differ", "", "The least and the largest mean of follows X over the heads of"
           " a predictor, if predictors differ more than seeds explain, else empty.",
           "predictors differ"),
)
"""The columns that a comparison adds: it has one line a reporter, prior, strength and level."""

IN_TABLES = (
    Column("spread", "share", "Minimum and maximum of follows X over heads.", "least–most"),
    Column("quartiles", "share", "Minimum, quartiles and maximum of follows X over heads.",
           "least ¼ ½ ¾ most"),
    Column("verdicts", "heads", "Heads with each verdict: T direct_translator, I human_imitator,"
           " M mixture, N neither, U undecided.", "verdicts"),
)
"""What tables alone show, put together from several columns."""
# fmt: on

COSTS = (
    "prequential_bits",
    "variational_bits",
    "two_part_bits",
    "explanation_bits",
    "edges",
    "flops",
    "level_read",
    "steps",
    "gates",
    "depth",
    "seconds",
)
"""The columns of the bill that tables show."""

FAMILY = "follows_concept_"
"""How the name of a column begins that holds the figure of one family of tampering."""

_BY_NAME = {column.name: column for column in (*COLUMNS, *MORE, *IN_TABLES)}
_LIMITS = {
    "_low": "Lower limit of the interval of",
    "_high": "Upper limit of the interval of",
    "_low_corrected": "Lower limit, for translators and follows X of all lines together, of",
    "_high_corrected": "Upper limit, for translators and follows X of all lines together, of",
}


def find_column(name: str) -> Column:
    """Returns the column of this name; limits and families are derived from theirs.

    Raises:
        KeyError: there is no such column.

    >>> find_column("nde_low").meaning
    'Lower limit of the interval of nde.'
    >>> find_column("follows_concept_loop").heading
    'loop'
    """
    if name in _BY_NAME:
        return _BY_NAME[name]
    for ending, words in _LIMITS.items():
        column = _BY_NAME.get(name.removesuffix(ending))
        if column is not None and column.has_limits:
            return replace(column, name=name, meaning=f"{words} {column.name}.", has_limits=False)
    if not name.startswith(FAMILY):
        raise KeyError(name)
    column, family = _BY_NAME[f"{FAMILY}FAMILY"], name.removeprefix(FAMILY)
    return replace(
        column,
        name=name,
        meaning=column.meaning.replace("FAMILY", family),
        heading=family.replace("_", " "),
    )


def find_families(names: Iterable[Any]) -> list[str]:
    """Returns which of these columns (of a table, or names) hold the figure of one family.

    >>> find_families(["follows_concept", "follows_concept_low", "follows_concept_loop"])
    ['follows_concept_loop']
    """
    limits = {f"follows_concept{ending}" for ending in _LIMITS}
    all_names = set(map(str, names)) - limits
    return sorted(name for name in all_names if name.startswith(FAMILY))


def get_heading(name: str) -> str:
    """Returns what tables call a column."""
    return find_column(name).heading


def explain(names: Iterable[str]) -> str:
    """Returns a legend: each heading with the meaning of its column.

    >>> explain(["heads", "gates"])
    'heads: Number of heads, settled or not. gates: Two-input gates of a logic head.'
    """
    columns = [find_column(name) for name in names]
    return " ".join(f"{column.heading}: {column.meaning}" for column in columns)


def format_markdown(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Returns a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def document() -> str:
    """Returns docs/columns.md."""
    return f"""# Columns

Printed by `python -m report.columns` from `report/columns.py`. X: the concept, H: the human's
answer. Figures of one kind of episode are on held-out episodes.

## heads.parquet

One row a head. Measures that a run does not make have no column, and what a head does not have is
missing. A column marked ± has two more beside it, `NAME_low` and `NAME_high`: the limits of its
interval.

{_tabulate(COLUMNS)}

## comparison.parquet

`python -m report FOLDER` writes one line a reporter, prior, strength and level: means over settled
heads of columns above, and these. `settled` is the share of settled heads; where it is 0, or is
missing because an earlier version did not measure it, nothing is claimed and the means are missing.
Intervals of a line are over predictors and their heads, at 95% each; `NAME_low_corrected` and
`NAME_high_corrected` hold at 95% for the translators and the follows X of all lines of a setting
together. An interval of a share is never narrower than the exact one of Clopper and Pearson with
predictors as the number of trials: 0 of 4 predictors allow up to 0.60.

{_tabulate(MORE)}
"""


def _tabulate(columns: Iterable[Column]) -> str:
    rows = [
        (f"`{column.name}`{' ±' * column.has_limits}", column.unit, column.heading, column.meaning)
        for column in columns
    ]
    return format_markdown(("column", "unit", "in tables", "meaning"), rows)


if __name__ == "__main__":
    run_command(lambda: print(document(), end=""), "Stopped.")
