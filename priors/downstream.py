"""A downstream prior: how much the report depends on what is downstream of the fact, the
observation that the predictor predicts.

N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from priors.dependence import covariance
from priors.prior import Need, Prior, Training


class Downstream(Prior):
    """charge = the covariance of the report's log-odds and probability, in nats, if the
    observation's part of the activation is replaced by that of another episode.

    The covariance is half the Jeffreys divergence between the report with the episode's own
    observation and the report with another's: a variance, in nats, so its price is 1. The
    observation's part is the one direction that carries the predictor's own prediction of what will
    be seen; `observation` finds it without any label. A head that imitates the human reads what
    will be seen, while a direct translator reads the fact upstream of it.

    It can be gamed: other directions and nonlinear functions of an activation may carry the
    observation too, and they are not resampled.
    """

    needs: tuple[Need, ...] = ("observation",)

    def charge(self, training: Training) -> Tensor:
        assert training.aid.observation_2LD is not None
        read_LD, write_LD = training.aid.observation_2LD
        part_NL = (training.z_NLD * read_LD).sum(dim=2)
        change_NLD = (part_NL.roll(1, dims=0) - part_NL)[:, :, None] * write_LD
        return covariance(training.reading, training.read(training.z_NLD + change_NLD))


def find_observation(z_NLD: Tensor, opinion_NL: Tensor) -> Tensor:
    """Returns the direction along which the predictor's observation is read (row 0) and written
    (row 1) at each level, shape (2, L, D).

    It is read by the least-squares fit r of the predicted probability that the human will see a
    "yes". It is written along Cov(z, r · z) / Var(r · z), the smallest change, measured by the
    activations' own covariance, that replaces r · z (as in LEACE, Belrose et al. 2023).

    Args:
        z_NLD: standardised activations of unlabelled episodes, tampered ones among them.
        opinion_NL: the predictor's log-odds that the human will see a "yes", in nats; a column for
            all levels, or one for each level where these are of several predictors.
    """
    z_LND = (z_NLD - z_NLD.mean(dim=0)).double().movedim(1, 0)
    chance_NL = torch.sigmoid(opinion_NL.double())
    target_LN1 = (chance_NL - chance_NL.mean(dim=0)).T[:, :, None]
    gram_LDD = z_LND.mT @ z_LND / len(z_NLD)
    ridge_DD = 1e-4 * torch.eye(z_NLD.shape[2], dtype=torch.float64, device=z_NLD.device)
    read_LD1 = torch.linalg.solve(gram_LDD + ridge_DD, z_LND.mT @ target_LN1 / len(z_NLD))
    covariance_LD1 = gram_LDD @ read_LD1
    write_LD1 = covariance_LD1 / (read_LD1.mT @ covariance_LD1)
    return torch.stack([read_LD1, write_LD1]).squeeze(-1).to(z_NLD)
