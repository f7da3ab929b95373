"""A sum of priors: every part charges, each with its own share of the strength."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from priors.prior import Prior, Training
from refusal import Refusal
from reporters.stack import Weights


class Sum(Prior):
    """charge = Σ share · charge of the part; transforms and finishes apply in the order of the parts.

    Args:
        parts: priors by name.
        shares: for each, what the strength is multiplied with.
    """

    def __init__(self, parts: dict[str, Prior], shares: dict[str, float]) -> None:
        if parts.keys() != shares.keys():
            raise Refusal(f"prior.shares: it names {sorted(shares)}, but the parts are {sorted(parts)}. Give each part one share.")
        self.parts, self.shares = parts, shares
        self.draws = sum(part.draws for part in parts.values())

    def charge(self, training: Training) -> Tensor:
        charges = [self.shares[name] * part.charge(training._replace(state=_own(training.state, name))) for name, part in self.parts.items()]
        return torch.stack(charges).sum()

    def state(self, weights: Weights) -> Weights:
        return {f"{name}.{key}": value for name, part in self.parts.items() for key, value in part.state(weights).items()}

    def transform(self, weights: Weights, state: Weights, noise: Sequence[Weights]) -> Weights:
        used = 0
        for name, part in self.parts.items():
            weights = part.transform(weights, _own(state, name), noise[used : used + part.draws])
            used += part.draws
        return weights

    def finish(self, weights: Weights, state: Weights) -> Weights:
        for name, part in self.parts.items():
            weights = part.finish(weights, _own(state, name))
        return weights


def _own(state: Weights, name: str) -> Weights:
    """Returns one part's share of the joint state."""
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}
