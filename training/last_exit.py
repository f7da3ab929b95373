"""Heads that read to their last exit, whatever they learned about stopping.

K: heads, W: parameters of a head in one row; N: episodes, L: levels, D: width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import vmap

from reporters.reporter import Reading, Reporter, build_single_exit_reading
from training.expected import unflatten


class LastExit(Reporter):
    """A reporter that stops at its last exit alone. It has the reporter's parameters."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self.reporter = reporter
        self.reads = reporter.reads  # type: ignore[misc]

    def forward(self, z_NLD: Tensor) -> Reading:
        log_odds_NT = self.reporter(z_NLD).log_odds_NT
        return build_single_exit_reading(log_odds_NT[:, -1], z_NLD.shape[1])

    @property
    def is_known(self) -> bool:
        """Whether the reporter says with which weights it never stops early."""
        return self.reporter.read_to_the_end(dict(self.reporter.named_parameters())) is not None

    def never_stop_early(self, theta_KW: Tensor) -> Tensor:
        """Returns heads of the reporter itself that read to their last exit."""
        sizes = {name: value.shape for name, value in self.reporter.named_parameters()}

        def change(theta_W: Tensor) -> Tensor:
            weights = self.reporter.read_to_the_end(unflatten(theta_W, sizes))
            assert weights is not None
            return torch.cat([weights[name].flatten() for name in sizes])

        return vmap(change)(theta_KW)
