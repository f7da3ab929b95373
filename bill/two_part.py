"""Two-part bits: the length of a real code of a finished head and of the training labels."""

from __future__ import annotations

from bill.finished import FinishedHeads
from bill.measure import Item, Measure


class TwoPart(Measure):
    """two_part_bits = bits of the rounded parameters + bits of the labels given the rounded head.

    The parameters' bits alone, `model_bits`, say little without those of the labels.
    """

    def measure(self, heads: FinishedHeads) -> dict[str, Item]:
        total = (
            "bits; two-part code of the training labels: the parameters, rounded at the best"
            " precision, then the errors"
        )
        model = "bits; the parameters' part of the two-part code, which says little by itself"
        return {
            "two_part_bits": Item(heads.code.total.flatten(), total),
            "model_bits": Item(heads.code.model.flatten(), model),
        }
