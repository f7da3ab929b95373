"""How well the words alone predict the concept, without any predictor.

N: episodes.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from datasets import Dataset

from verdict.statistics import Floats

WORD = r"\w+"


def fit_bag_of_words(train: Dataset, column: str) -> Callable[[Dataset], Floats]:
    """Returns a logistic regression on word counts that has learned H from the training episodes:
    from episodes to scores of N; constant where H is, and where no text has a word.

    Args:
        train: episodes with the column `human`.
        column: the text.
    """
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression

    texts, human_N = train[column][:], np.array(train["human"][:], bool)
    has_words = any(re.search(WORD, text) for text in texts)
    if not has_words or len(np.unique(human_N)) < 2:
        return lambda episodes: np.zeros(len(episodes))
    counter = CountVectorizer(token_pattern=WORD)
    head = LogisticRegression(max_iter=1000).fit(counter.fit_transform(texts), human_N)
    return lambda episodes: head.decision_function(counter.transform(episodes[column][:]))
