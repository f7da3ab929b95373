"""An outside check: `logistic` on data sets of others, the labelled texts that lie in the package
sae-probes, read by `world=table` as they are.

N: episodes, D: width.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from benchmarks.rival_heads import C, fit_reporter, fit_scikit_logistic
from configs.build import build, read_default
from configs.plan import Plan, Sizes
from core_model.predictor import Predictor
from core_model.reader import ActivationReader
from reporters.logistic import Logistic
from reporters.reporter import Lesson
from reporters.standardiser import compute_standardiser
from training.examples import Examples
from training.material import draw_material, read_examples
from worlds.table import Table

Floats = NDArray[np.float32]

SETS = {
    "21_headline_istrump": "target",
    "23_headline_ischina": "target",
    "26_headline_isfrontpage": "target",
    "36_sciq_tf": "target",
    "41_truthqa_tf": 'target == "correct"',
    "50_deon_isvalid": "target",
    "54_cs_tf": "target",
    "65_high-school": 'target == "bigram"',
    "71_social-media": 'target == "bigram"',
    "91_glue_qqp": "target",
    "92_glue_sst2": "target",
    "96_spam_is": "target",
    "105_click_bait": 'target == "clickbait"',
    "106_hate_hate": "target",
    "113_movie_sent": "target",
    "118_us_state_CA": "target",
    "123_world_country_United_Kingdom": "target",
    "133_context_type_Causality": "target",
    "148_twt_emotion_worry": "target",
    "155_athlete_sport_basketball": "target",
}
"""Each with what `world.concept` is for it: twenty of short texts. In 16 of the 113 binary ones a
text stands with both labels, which `world=table` refuses.
"""
LEVEL = 18
SIZES = Sizes(train=160, validation=10, test=120, disputed=2, twins=2, probe=10)
CHOICES = np.logspace(5, -5, 10)
"""Of C, among which sae-probes chooses."""


class TextRow(NamedTuple):
    """AUROC on held-out texts."""

    name: str
    ours: float
    scikit: float
    chosen: float
    """Of the recipe of sae-probes."""
    chosen_C: float


def compare_texts(predictor: Predictor, cache: Path, folder: Path) -> Iterator[TextRow]:
    """Yields a row for each data set.

    Args:
        cache: where activations are kept.
        folder: where the unpacked files are written.
    """
    for name, concept in SETS.items():
        train, test = read_table(open_table(name, concept, folder), predictor, cache)
        yield compare_set(name, train, test)


def open_table(name: str, concept: str, folder: Path) -> Table:
    """Returns a data set of the package as a world."""
    spec = find_spec("sae_probes")
    assert spec and spec.origin
    packed = Path(spec.origin).parent / "data" / "cleaned_data" / f"{name}.csv.zst"
    file = folder / f"{name}.csv"
    if not file.exists():
        with pa.input_stream(packed, compression="zstd") as stream:
            file.write_bytes(stream.read())
    values = read_default("world/table.yaml")
    return build({**values, "files": str(file), "text": "prompt", "concept": concept}, "world")


def read_table(table: Table, predictor: Predictor, cache: Path) -> tuple[Examples, Examples]:
    """Returns the training and the held-out texts of a run, as the predictor reads them."""
    plan = Plan(0, 1, 1, False, [1.0], [LEVEL], SIZES)
    reader = ActivationReader(predictor, table.reads, (LEVEL,), cache)
    material = draw_material(table, reader, plan)
    return material.examples, read_examples(reader, material.test)


def compare_set(name: str, train: Examples, test: Examples) -> TextRow:
    """Returns the AUROC of each head on held-out texts."""
    mean_LD, std_LD = compute_standardiser(train.z_NLD)
    z_ND = ((test.z_NLD - mean_LD) / std_LD).flatten(1)
    standardised_NLD = (train.z_NLD - mean_LD) / std_LD
    lesson = Lesson(standardised_NLD, train.human_N, mean_LD, std_LD)
    fits = (fit_reporter(Logistic, C=C), fit_scikit_logistic)
    ours, scikit = (roc_auc_score(test.human_N, fit(lesson, 0)(z_ND)) for fit in fits)
    model = fit_with_chosen_C(train.z_NLD.flatten(1).numpy(), train.human_N.numpy())
    scores_N = model.decision_function(test.z_NLD.flatten(1).numpy())
    chosen = roc_auc_score(test.human_N, scores_N)
    return TextRow(name, float(ours), float(scikit), float(chosen), float(model.C))


def fit_with_chosen_C(z_ND: Floats, human_N: Floats) -> LogisticRegression:
    """Fits logistic regression as `find_best_reg` of sae-probes 0.4.2 does, which needs xgboost:
    without standardisation, with the C that does best on the last fifth of the training episodes,
    but on 100 at most.
    """
    n_train = len(z_ND) - min(int(0.2 * len(z_ND)), 100)
    aurocs = []
    for price in CHOICES:
        model = LogisticRegression(C=price, max_iter=1000)
        model.fit(z_ND[:n_train], human_N[:n_train])
        scores_N = model.decision_function(z_ND[n_train:])
        aurocs.append(roc_auc_score(human_N[n_train:], scores_N))
    best = LogisticRegression(C=CHOICES[int(np.argmax(aurocs))], max_iter=1000)
    return best.fit(z_ND, human_N)
