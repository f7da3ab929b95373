"""A sum of priors: every part charges, each with its own share of the strength."""

from __future__ import annotations

import torch
from torch import Tensor

from console.errors import UserError
from priors.prior import Aid, Prior, Training
from reporters.reporter import Reporter
from reporters.stack import Weights


class Sum(Prior):
    """charge = Σ share · charge of the part; transforms and finishes apply in the order of the
    parts.

    Args:
        parts: priors by name.
        shares: for each, what the strength is multiplied with.
    """

    def __init__(self, parts: dict[str, Prior], shares: dict[str, float]) -> None:
        if parts.keys() != shares.keys():
            raise UserError(
                f"prior.shares: it names {sorted(shares)}, but the parts are {sorted(parts)}. Give"
                " each part one share."
            )
        self.parts, self.shares = parts, shares
        self.convex = all(part.convex for part in parts.values())
        self.needs = tuple(dict.fromkeys(need for part in parts.values() for need in part.needs))

    def charge(self, training: Training) -> Tensor:
        owned = {
            name: training._replace(
                state=_own(training.state, name), noise=_own(training.noise, name)
            )
            for name in self.parts
        }
        return torch.stack(
            [self.shares[name] * part.charge(owned[name]) for name, part in self.parts.items()]
        ).sum()

    def lacks(self, reporter: Reporter) -> str | None:
        lacking = [
            f"{lack} (its part {name})"
            for name, part in self.parts.items()
            if (lack := part.lacks(reporter))
        ]
        return "; ".join(lacking) or None

    def state(self, weights: Weights, aid: Aid) -> Weights:
        return {
            f"{name}.{key}": value
            for name, part in self.parts.items()
            for key, value in part.state(weights, aid).items()
        }

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        for name, part in self.parts.items():
            weights = part.transform(weights, _own(state, name), _own(noise, name))
        return weights

    def finish(self, weights: Weights, state: Weights) -> Weights:
        for name, part in self.parts.items():
            weights = part.finish(weights, _own(state, name))
        return weights

    def edge_price(self, edges: int, n_examples: int) -> float:
        return sum(
            self.shares[name] * part.edge_price(edges, n_examples)
            for name, part in self.parts.items()
        )


def _own(state: Weights, name: str) -> Weights:
    """Returns one part's share of the joint state."""
    return {
        key.removeprefix(f"{name}."): value
        for key, value in state.items()
        if key.startswith(f"{name}.")
    }
