"""A probe that was trained elsewhere, read from a file; it is billed and judged like any head."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from console.errors import UserError
from reporters.fitted_linear import FittedLinear
from reporters.reporter import Lesson

KEYS = {
    "weight": ("coef_", "coef", "weight"),
    "bias": ("intercept_", "intercept", "bias"),
    "mean": ("mean_", "mean"),
    "scale": ("scale_", "scale"),
}
"""The names that each tensor of a file may have, those of scikit-learn first."""
OPTIONAL = ("mean", "scale")
CURE = (
    "Save it with numpy.savez(file, coef_=probe.coef_, intercept_=probe.intercept_), or as"
    " safetensors."
)


class Probe(NamedTuple):
    """log-odds = weight · (z − mean) / scale + bias, for activations z as the predictor gives
    them.
    """

    weight_D: Tensor
    bias: Tensor
    mean_D: Tensor
    scale_D: Tensor


class Direction(FittedLinear):
    """log-odds = coef · (z − mean) / scale + intercept, for activations z as the predictor gives
    them; nothing is fitted.

    The file is .safetensors or .npz and holds `coef_` and `intercept_`, as estimators of
    scikit-learn name them, or `weight` and `bias`. If the probe was trained on standardised
    activations, it also holds `mean_` and `scale_`, as `StandardScaler` names them. The last
    underscore may be left out, and other names are not read. Positive log-odds mean that the
    concept holds. The same probe reads every level of a run, so choose its own with levels='[5]'.

    Args:
        file: the path of the file.
    """

    def __init__(self, n_levels: int, width: int, file: str) -> None:
        super().__init__(n_levels, width)
        self.file = file

    @classmethod
    def check_values(cls, values: Mapping[str, Any]) -> None:
        """Raises UserError if there is no such file, or keys are missing."""
        _find_tensors(values["file"], _load(values["file"]))

    def check(self) -> None:
        """Raises UserError if the width differs."""
        self.read()

    def fit(self, lesson: Lesson) -> dict[str, Tensor]:
        """Returns the probe in the coordinates of standardised activations."""
        probe = Probe(*(value.to(lesson.mean_LD.device) for value in self.read()))
        mean_D, std_D = lesson.mean_LD.flatten().double(), lesson.std_LD.flatten().double()
        weight_D = probe.weight_D / probe.scale_D
        bias = probe.bias + (weight_D * (mean_D - probe.mean_D)).sum()
        weight_1D = (weight_D * std_D)[None]
        return {"weight_1D": weight_1D.to(lesson.z_NLD), "bias": bias.to(lesson.z_NLD)}

    def read(self) -> Probe:
        """Returns the probe of the file.

        Raises:
            UserError: there is none, or it does not fit.
        """
        tensors = _find_tensors(self.file, _load(self.file))
        width = self.weight_1D.shape[1]
        for name, value in tensors.items():
            wanted = 1 if name == "bias" else width
            if value.numel() != wanted:
                raise UserError(
                    f"reporter.file: the {name} in {self.file} has {value.numel()} numbers, and"
                    f" this head needs {wanted}. Use a probe of one output for activations of width"
                    f" {width}."
                )
        zero_D, one_D = torch.zeros(width).double(), torch.ones(width).double()
        return Probe(
            tensors["weight"].flatten(),
            tensors["bias"].flatten()[0],
            tensors.get("mean", zero_D).flatten(),
            tensors.get("scale", one_D).flatten(),
        )


def _load(file: str) -> dict[str, Tensor | None]:
    """Returns the tensors of a file, by name; None for names that are not in KEYS.

    Raises:
        UserError: there is no such file, or it is of another kind.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"reporter.file: there is no file {file}. {CURE}")
    if path.suffix not in (".safetensors", ".npz"):
        raise UserError(f"reporter.file: {file} is neither .safetensors nor .npz. {CURE}")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        with np.load(path, allow_pickle=False) as arrays:
            known = [name for names in KEYS.values() for name in names]
            return {n: torch.from_numpy(arrays[n]) if n in known else None for n in arrays}
    except (SafetensorError, zipfile.BadZipFile, OSError, ValueError, TypeError) as error:
        raise UserError(f"reporter.file: {file} cannot be read ({error}). {CURE}") from None


def _find_tensors(file: str, tensors: dict[str, Tensor | None]) -> dict[str, Tensor]:
    """Returns the tensors of a probe, under the keys of KEYS.

    Raises:
        UserError: one that is needed is missing, or holds no finite numbers.
    """
    found, missing = {}, []
    for name, keys in KEYS.items():
        value = next((tensors[key] for key in keys if key in tensors), None)
        if value is not None:
            found[name] = value.double()
        elif name not in OPTIONAL:
            missing.append(f"{name} ({', '.join(keys)})")
    if missing:
        has = ", ".join(sorted(tensors)) or "nothing"
        raise UserError(
            f"reporter.file: {file} lacks {' and '.join(missing)}; it holds {has}. {CURE}"
        )
    for name, value in found.items():
        if not value.isfinite().all() or (name == "scale" and (value == 0).any()):
            raise UserError(
                f"reporter.file: the {name} in {file} holds numbers that are not finite, or a scale"
                f" of 0. {CURE}"
            )
    return found
