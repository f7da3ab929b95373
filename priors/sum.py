"""A sum of priors: every part charges, each with its own share of the strength."""

from __future__ import annotations

import torch
from torch import Tensor

from console.errors import UserError
from console.ranges import NotNegative
from priors.prior import Aid, Prior, Training
from reporters.reporter import Reporter
from reporters.stack import Weights


class Sum(Prior):
    """charge = Σ share · charge of the part; transforms and finishes apply in the order of the
    parts.

    Args:
        parts: priors by name.
        shares: the factor of the strength, for each part.
    """

    def __init__(self, parts: dict[str, Prior], shares: dict[str, NotNegative]) -> None:
        if parts.keys() != shares.keys():
            raise UserError(
                f"prior.shares: it names {sorted(shares)}, but the parts are {sorted(parts)}. Give"
                " each part one share."
            )
        self.parts = parts
        self.shares = shares
        self.convex = all(part.convex for part in parts.values())
        needs = [need for part in parts.values() for need in part.needs]
        self.needs = tuple(dict.fromkeys(needs))

    def charge(self, training: Training) -> Tensor:
        charges = []
        for name, part in self.parts.items():
            state, noise = _select_part(training.state, name), _select_part(training.noise, name)
            charge = part.charge(training._replace(state=state, noise=noise))
            charges.append(self.shares[name] * charge)
        return torch.stack(charges).sum()

    def lacks(self, reporter: Reporter) -> str | None:
        missing = []
        for name, part in self.parts.items():
            lack = part.lacks(reporter)
            if lack:
                missing.append(f"{lack} (its part {name})")
        return "; ".join(missing) or None

    def state(self, weights: Weights, aid: Aid) -> Weights:
        joint: Weights = {}
        for name, part in self.parts.items():
            state = part.state(weights, aid)
            joint |= {f"{name}.{key}": value for key, value in state.items()}
        return joint

    def transform(self, weights: Weights, state: Weights, noise: Weights) -> Weights:
        for name, part in self.parts.items():
            weights = part.transform(weights, _select_part(state, name), _select_part(noise, name))
        return weights

    def compute_variance(self, state: Weights) -> Weights | None:
        joint: Weights = {}
        for name, part in self.parts.items():
            variance = part.compute_variance(_select_part(state, name))
            if variance is None:
                return None
            for key, value in variance.items():
                joint[key] = joint[key] + value if key in joint else value
        return joint

    def finish(self, weights: Weights, state: Weights) -> Weights:
        for name, part in self.parts.items():
            weights = part.finish(weights, _select_part(state, name))
        return weights

    def edge_price(self, edges: int, n_examples: int) -> float:
        prices = {name: part.edge_price(edges, n_examples) for name, part in self.parts.items()}
        return sum(self.shares[name] * price for name, price in prices.items())


def _select_part(joint: Weights, name: str) -> Weights:
    """Returns the entries of one part."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): value for key, value in joint.items() if key.startswith(prefix)
    }
