"""How well the words alone predict the concept, without any predictor."""

from __future__ import annotations

from datasets import Dataset

from console.errors import UserError


def score_bag_of_words(train: Dataset, judged: Dataset, column: str) -> float:
    """Returns the AUROC for X, on judged episodes, of a logistic regression on word counts that
    learned H from the training episodes.

    0.5: the words of a statement carry no information about X. 1: they determine X, and a head
    needs no predictor. Constant scores give exactly 0.5.

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
            "verdict: the bag of words needs scikit-learn, which is not installed. Run: pip install"
            " -e '.[lm]'"
        ) from missing
    if len(set(judged["concept"])) < 2:
        raise UserError(
            "verdict: X is the same in all judged episodes, so an AUROC is not defined. Judge on"
            " episodes with both answers."
        )
    if len(set(train["human"])) < 2:
        return 0.5
    counter = CountVectorizer(token_pattern=r"\w+")
    train_counts = counter.fit_transform(train[column])
    head = LogisticRegression(max_iter=1000).fit(train_counts, train["human"])
    scores = head.decision_function(counter.transform(judged[column]))
    return float(roc_auc_score(judged["concept"], scores))
