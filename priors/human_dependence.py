"""A prior against imitation: how much the report depends on the answer of a known model of the
human, while X stays the same.
"""

from __future__ import annotations

from torch import Tensor

from priors.dependence import covariance
from priors.prior import Need, Prior, Training


class HumanDependence(Prior):
    """charge = the covariance of the report's log-odds and probability, in nats, between two
    episodes with the same X and different answers of the human.

    Within each pair this is the Hilbert-Schmidt independence criterion of report and human (Gretton
    et al. 2005) with linear kernels, where a difference of reports is measured as a Jeffreys
    divergence, so that it is in nats; its price is 1. The pairs come from the model of the human
    alone: X is the same in both by construction, and neither X nor any label of it is used. The
    pairs are tampered episodes, which heads under other priors never see.

    It can be gamed: a head that depends on the human only in ways that the pairs do not show is not
    charged.
    """

    needs: tuple[Need, ...] = ("pairs",)

    def charge(self, training: Training) -> Tensor:
        assert training.aid.pairs_2PLD is not None
        no_PLD, yes_PLD = training.aid.pairs_2PLD
        return covariance(training.read(no_PLD), training.read(yes_PLD))
