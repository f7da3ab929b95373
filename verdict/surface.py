"""How far the words alone give the concept away, without any predictor."""

from __future__ import annotations

from datasets import Dataset

from console.errors import UserError


def bag_of_words(train: Dataset, judged: Dataset, column: str) -> float:
    """Returns the AUROC for X, on judged episodes, of a logistic regression on word counts that
    learned H from the training episodes.

    0.5: the words that a statement is made of tell nothing. 1: they tell all, and a head needs no
    predictor. Constant scores give exactly 0.5.

    Args:
        train: episodes with the column `human`.
        judged: episodes with the column `concept`, both answers among them.
        column: the text.

    Raises:
        UserError: scikit-learn is missing, or X is the same in all judged episodes.
    """
    try:
        from sklearn.feature_extraction.text import CountVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import roc_auc_score
    except ImportError as missing:
        raise UserError(
            "verdict: a bag of words needs scikit-learn, which is not installed. Run: pip install"
            " -e '.[lm]'"
        ) from missing
    if len(set(judged["concept"])) < 2:
        raise UserError(
            "verdict: X is the same in all judged episodes, so nothing can tell them apart. Judge"
            " on episodes of both kinds."
        )
    if len(set(train["human"])) < 2:
        return 0.5
    words = CountVectorizer(token_pattern=r"\w+")
    head = LogisticRegression(max_iter=1000).fit(words.fit_transform(train[column]), train["human"])
    return float(
        roc_auc_score(judged["concept"], head.decision_function(words.transform(judged[column])))
    )
