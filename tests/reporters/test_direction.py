"""A probe from a file gives the log-odds of the estimator that it was saved from, on activations as
the predictor gives them; a file that does not fit is refused in one line.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from torch.func import functional_call

from console.errors import UserError
from reporters.direction import Direction
from reporters.reporter import Lesson

WIDTH = 5


def draw(n: int = 200, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Returns activations far from standardised, and answers."""
    rng = np.random.default_rng(seed)
    z_ND = rng.normal(size=(n, WIDTH)) * [1, 10, 0.1, 3, 1] + [5, -30, 0, 2, 1]
    return z_ND, z_ND[:, 1] + 10 * rng.normal(size=n) > -30


def read_file(file: Path, z_ND: np.ndarray) -> Tensor:
    """Returns the log-odds of the head that is fitted from a file, as a population reads it."""
    z_NLD = torch.from_numpy(z_ND)[:, None]
    mean_LD, std_LD = z_NLD[:50].mean(dim=0) + 1, z_NLD[:50].std(dim=0)
    standard_NLD = (z_NLD - mean_LD) / std_LD
    head = Direction(1, WIDTH, str(file)).double()
    head.check()
    weights = head.fit(Lesson(standard_NLD, torch.zeros(len(z_NLD)), mean_LD, std_LD))
    return functional_call(head, weights, (standard_NLD,)).log_odds_N


def test_an_estimators_probe_answers_as_the_estimator_does(tmp_path):
    z_ND, human_N = draw()
    probe = LogisticRegression().fit(z_ND, human_N)
    np.savez(tmp_path / "probe.npz", coef_=probe.coef_, intercept_=probe.intercept_)
    log_odds_N = read_file(tmp_path / "probe.npz", z_ND)
    np.testing.assert_allclose(log_odds_N, probe.decision_function(z_ND), rtol=1e-9, atol=1e-9)


def test_a_probe_of_standardised_activations_brings_its_mean_and_scale(tmp_path):
    z_ND, human_N = draw()
    scaler = StandardScaler().fit(z_ND)
    probe = LogisticRegression().fit(scaler.transform(z_ND), human_N)
    tensors = {
        "weight": torch.from_numpy(probe.coef_),
        "bias": torch.from_numpy(probe.intercept_),
        "mean": torch.from_numpy(scaler.mean_),
        "scale": torch.from_numpy(scaler.scale_),
    }
    save_file(tensors, tmp_path / "probe.safetensors")
    log_odds_N = read_file(tmp_path / "probe.safetensors", z_ND)
    expected_N = probe.decision_function(scaler.transform(z_ND))
    np.testing.assert_allclose(log_odds_N, expected_N, rtol=1e-9, atol=1e-9)
    del tensors["mean"]
    save_file(tensors, tmp_path / "without.safetensors")
    without_N = read_file(tmp_path / "without.safetensors", z_ND)
    assert not np.allclose(without_N, expected_N)


GOOD = {"coef_": np.ones((1, WIDTH)), "intercept_": np.zeros(1)}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"coef_": np.ones(3), "intercept_": np.zeros(1)}, "the weight in .* has 3 numbers, and"),
        (GOOD | {"mean_": np.ones(2)}, "the mean in .* has 2 numbers"),
        ({"w": np.ones(WIDTH)}, r"lacks weight \(coef_, .*\) and bias \(.*\); it holds w\."),
        ({"coef_": np.ones(WIDTH)}, r"lacks bias \(intercept_, intercept, bias\); it holds coef_"),
        (GOOD | {"coef_": np.full(WIDTH, np.nan)}, "the weight in .* not finite"),
        (GOOD | {"scale_": np.zeros(WIDTH)}, "the scale in .* scale of 0"),
        (GOOD | {"coef_": np.full(WIDTH, None)}, r"cannot be read \(Object arrays"),
    ],
)
def test_a_probe_that_does_not_fit_is_refused(arrays, message, tmp_path):
    file = tmp_path / "probe.npz"
    np.savez(file, **arrays)
    with pytest.raises(UserError, match=f"^reporter.file: .*{message}") as error:
        Direction(1, WIDTH, str(file)).check()
    assert "\n" not in str(error.value)


def test_a_file_of_another_kind_or_none_is_refused(tmp_path):
    (tmp_path / "probe.pkl").write_bytes(b"")
    (tmp_path / "damaged.npz").write_bytes(b"no archive")
    (tmp_path / "damaged.safetensors").write_bytes(b"no tensors")
    for name, message in {
        "none.npz": "there is no file",
        "probe.pkl": r"is neither \.safetensors nor \.npz",
        "damaged.npz": "cannot be read",
        "damaged.safetensors": "cannot be read",
    }.items():
        with pytest.raises(UserError, match=message):
            Direction(1, WIDTH, str(tmp_path / name)).check()


def test_arrays_of_other_names_are_left_alone(tmp_path):
    file = tmp_path / "probe.npz"
    np.savez(file, **GOOD, classes_=np.array(["no", "yes"]))
    Direction(1, WIDTH, str(file)).check()
