"""Controls beside the results on a world of text: how well X is ranked without what the predictor
has computed, or by heads that have learned nothing.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray
from torch import Tensor

from core_model.reader import ActivationReader, NotFinite, load_or_compute_log_perplexity
from training.material import Material
from verdict.evaluation import Evaluation, read_any
from verdict.statistics import Bools, Floats

DRAWS = 20
"""Random directions, and shuffles of the labels, over which a control is a mean."""
MOST_WEIGHED = 256
"""Most texts of each kind whose perplexity is computed: it takes a whole pass of the model."""


Scorer = Callable[[Any], Floats]
"""From what a control reads of N episodes, such as values of shape (N, F), to their scores."""


class Control(NamedTuple):
    """AUROC for X of one control: 0.5 is chance. NaN where X has one value."""

    easy: float
    """On held-out easy episodes."""
    disputed: float
    """On disputed episodes."""


class Scored(NamedTuple):
    """The episodes on which a control is measured."""

    episodes: Dataset
    z_NLD: Tensor

    @property
    def concept_N(self) -> Bools:
        return np.array(self.episodes["concept"][:], bool)


def measure_controls(
    material: Material,
    evaluation: Evaluation,
    reader: ActivationReader,
    column: str,
    bag_of_words: Scorer,
) -> dict[str, Control]:
    """Returns the controls of a run by name; each learns from the training answers.

    bag_of_words: a logistic regression on word counts. length: the number of characters of the
    text. perplexity: how unlikely the text is to a language model, in nats a token, over the first
    256 episodes of each kind; other predictors have none. level_0: a logistic regression on the
    embedding of the last token; left out where it holds NaN or infinity. random_direction: a random
    direction at the deepest level, its sign chosen on the training answers. shuffled_labels: a
    logistic regression at the deepest level on shuffled training answers. The last two are means
    over 20 draws.

    Args:
        column: the text.
        bag_of_words: the first of them, as fitted: from episodes to scores.
    """
    easy = Scored(evaluation.episodes.easy, evaluation.easy_NLD)
    disputed = Scored(evaluation.episodes.disputed, evaluation.disputed_NLD)
    train = material.train
    human_N = np.array(train["human"][:], bool)
    z_ND = material.examples.z_NLD[:, -1].numpy()
    deepest = [scored.z_NLD[:, -1].numpy() for scored in (easy, disputed)]
    judged = [easy.episodes, disputed.episodes]
    lengths = [measure_length(episodes, column) for episodes in (train, *judged)]
    truths = [easy.concept_N, disputed.concept_N]
    controls = {
        "bag_of_words": _score(bag_of_words, judged, truths),
        "length": _score(fit_sign(lengths[0], human_N), lengths[1:], truths),
    }
    train_N1, *judged_N1 = (_measure_perplexity(reader, each, column) for each in (train, *judged))
    if train_N1 is not None:
        some = [truth_N[:MOST_WEIGHED] for truth_N in truths]
        controls["perplexity"] = _score(fit_sign(train_N1, human_N[:MOST_WEIGHED]), judged_N1, some)
    shallow = ActivationReader(reader.predictor, reader.columns, (0,), reader.cache)
    try:
        embeddings = [read_any(shallow, episodes)[:, 0].numpy() for episodes in (train, *judged)]
    except NotFinite:  # the run itself may read deeper levels alone, and is over by now
        pass
    else:
        scorer = fit_logistic(embeddings[0], human_N)
        controls["level_0"] = _score(scorer, embeddings[1:], truths)
    controls["random_direction"] = _average(
        lambda rng: fit_random_direction(z_ND, human_N, rng), deepest, truths
    )
    controls["shuffled_labels"] = _average(
        lambda rng: fit_logistic(z_ND, rng.permutation(human_N)), deepest, truths
    )
    return controls


def fit_logistic(value_NF: NDArray[np.floating], human_N: Bools) -> Scorer:
    """Returns a logistic regression on standardised values; constant where H is."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(human_N)) < 2:
        return lambda value_NF: np.zeros(len(value_NF))
    mean_F, std_F = value_NF.mean(axis=0), value_NF.std(axis=0) + 1e-6
    head = LogisticRegression(C=0.1, max_iter=1_000).fit((value_NF - mean_F) / std_F, human_N)
    return lambda value_NF: head.decision_function((value_NF - mean_F) / std_F)


def fit_sign(value_N1: Floats, human_N: Bools) -> Scorer:
    """Returns the only value itself, or its negative where H is more often yes at small values."""
    sign = 1.0 if value_N1[human_N].mean() >= value_N1[~human_N].mean() else -1.0
    return lambda value_N1: sign * value_N1[:, 0]


def fit_random_direction(z_ND: Floats, human_N: Bools, rng: np.random.Generator) -> Scorer:
    """Returns a projection on a random direction, with the sign that the answers choose."""
    direction_D1 = rng.normal(size=(z_ND.shape[1], 1)) / (z_ND.std(axis=0)[:, None] + 1e-6)
    choose = fit_sign(z_ND @ direction_D1, human_N)
    return lambda z_ND: choose(z_ND @ direction_D1)


def measure_length(episodes: Dataset, column: str) -> Floats:
    """Returns the number of characters of each text, shape (N, 1)."""
    lengths = [float(len(text)) for text in episodes[column][:]]
    return np.array(lengths, float).reshape(len(episodes), 1)


def _measure_perplexity(reader: ActivationReader, episodes: Dataset, column: str) -> Floats | None:
    """Returns how unlikely texts are to the predictor, in nats a token, shape (N, 1); None where it
    is no language model.
    """
    some = episodes.select(range(min(MOST_WEIGHED, len(episodes))))
    nats_N = load_or_compute_log_perplexity(reader.predictor, some, column, reader.cache)
    return None if nats_N is None else nats_N.double().numpy()[:, None]


def compute_auroc(scorer: Scorer, inputs: Any, truth_N: Bools) -> float:
    """Returns the AUROC of the scores of N episodes; NaN where the truth has one value."""
    from sklearn.metrics import roc_auc_score

    if len(np.unique(truth_N)) < 2:
        return float("nan")
    return float(roc_auc_score(truth_N, scorer(inputs)))


def _score(scorer: Scorer, inputs: Sequence[Any], truths: Sequence[Bools]) -> Control:
    """Returns the AUROC of what was fitted on both kinds of episodes."""
    easy, disputed = inputs
    easy_N, disputed_N = truths
    return Control(compute_auroc(scorer, easy, easy_N), compute_auroc(scorer, disputed, disputed_N))


def _average(
    fit: Callable[[np.random.Generator], Scorer], values: Sequence[Floats], truths: Sequence[Bools]
) -> Control:
    """Returns the mean AUROC over draws."""
    controls = []
    for draw in range(DRAWS):
        controls.append(_score(fit(np.random.default_rng(draw)), values, truths))
    return Control(*np.mean(controls, axis=0).tolist())
