"""Controls find a planted cue where it is, and nothing elsewhere."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from datasets import Dataset

from core_model.reader import NotFinite
from verdict import controls
from verdict.controls import Control, measure_controls
from verdict.surface import fit_bag_of_words

N, WIDTH = 200, 12


class Reader:
    """Reads two levels of noise; a level may hold X."""

    columns, cache = ("text",), None
    predictor = SimpleNamespace(width=WIDTH)

    def __init__(self, predictor=None, columns=(), levels=(0,), cache=None) -> None:
        self.levels = levels

    def read(self, episodes: Dataset) -> torch.Tensor:
        rng = np.random.default_rng(len(episodes) + sum(map(len, episodes["text"][:])))
        z_NLD = rng.normal(size=(len(episodes), 2, WIDTH))
        answer_N = 2.0 * np.array(episodes["human"][:]) - 1
        z_NLD[:, 0, 0] += self.cues[0] * answer_N
        z_NLD[:, 1, 0] += self.cues[1] * answer_N
        return torch.tensor(z_NLD, dtype=torch.float32)[:, list(self.levels)]

    cues = (0.0, 0.0)


def make_episodes(text, flips: bool = False, seed: int = 0) -> Dataset:
    """Returns episodes whose text depends on H; X is H, or turned round."""
    rng = np.random.default_rng(seed)
    human = rng.permutation([True, False] * (N // 2))
    words = [text(answer, rng.integers(10, 99)) for answer in human]
    return Dataset.from_dict({"text": words, "human": human, "concept": human ^ flips})


def draw_nats(episodes: Dataset, cue: float) -> torch.Tensor:
    """Returns how unlikely planted texts are; a cue makes those with the answer yes less likely."""
    rng = np.random.default_rng(len("".join(episodes["text"][:])))
    answer_N = np.array(episodes["human"][:], float)
    return torch.tensor(rng.normal(size=len(episodes)) + cue * answer_N)


def measure(monkeypatch, text, cues=(0.0, 0.0), of_words: float | None = 0.0) -> dict[str, Control]:
    """Returns the controls where levels 0 and 1 hold X as loudly as `cues` say, and the model's own
    perplexity as `of_words` says; None for a predictor that has none.
    """

    def weigh(predictor, episodes, column, cache):
        return None if of_words is None else draw_nats(episodes, of_words)

    monkeypatch.setattr(controls, "load_or_compute_log_perplexity", weigh)
    reader = type("Planted", (Reader,), {"cues": cues})
    monkeypatch.setattr(controls, "ActivationReader", reader)
    train, easy = make_episodes(text, seed=1), make_episodes(text, seed=2)
    disputed = make_episodes(text, flips=True, seed=3)
    both = reader(levels=(0, 1))
    material = SimpleNamespace(train=train, examples=SimpleNamespace(z_NLD=both.read(train)))
    evaluation = SimpleNamespace(
        episodes=SimpleNamespace(easy=easy, disputed=disputed),
        easy_NLD=both.read(easy),
        disputed_NLD=both.read(disputed),
    )
    return measure_controls(material, evaluation, both, "text", fit_bag_of_words(train, "text"))


def say_nothing(answer: bool, number: int) -> str:
    return f"number {number}"


def test_without_a_cue_every_control_is_near_chance(monkeypatch):
    for name, control in measure(monkeypatch, say_nothing).items():
        assert 0.35 < control.easy < 0.65 and 0.35 < control.disputed < 0.65, name


@pytest.mark.parametrize(
    ("text", "cues", "finds"),
    [
        (lambda answer, n: f"{'yes' if answer else 'not'} {n}", (0, 0), {"bag_of_words"}),
        (lambda answer, n: f"{n}{' ' * (5 - 3 * answer)}", (0, 0), {"length"}),
        (say_nothing, (5, 0), {"level_0"}),
        (say_nothing, (0, 0), {"perplexity"}),
    ],
    ids=["words", "length", "level 0", "perplexity"],
)
def test_a_planted_cue_is_found_by_its_control_alone(text, cues, finds, monkeypatch):
    """On disputed episodes X is turned round, and so is the ranking."""
    of_words = 5.0 if "perplexity" in finds else 0.0
    found = measure(monkeypatch, text, cues, of_words)
    assert finds < set(found)
    for name, control in found.items():
        if name in finds:
            assert control.easy > 0.95 and control.disputed < 0.05, name
        else:
            assert 0.3 < control.easy < 0.7, name


def test_what_the_deepest_level_knows_is_found_by_neither_shuffled_labels_nor_level_0(monkeypatch):
    found = measure(monkeypatch, say_nothing, cues=(0, 5))
    assert 0.35 < found["shuffled_labels"].easy < 0.65
    assert 0.35 < found["level_0"].easy < 0.65
    assert 0.5 < found["random_direction"].easy < 0.95, "a part of it lies in any direction"


def test_a_predictor_that_is_no_language_model_has_no_perplexity(monkeypatch):
    with_words = measure(monkeypatch, say_nothing)
    assert set(with_words) - set(measure(monkeypatch, say_nothing, of_words=None)) == {"perplexity"}


def test_one_value_of_x_gives_no_auroc(monkeypatch):
    episodes = make_episodes(say_nothing)
    one_sided = episodes.filter(lambda row: row["concept"])
    empty = episodes.select([])

    def refuse(judged: Dataset) -> np.ndarray:
        raise AssertionError("nothing is scored")

    for judged in (one_sided, empty):
        concept_N = np.array(judged["concept"][:], bool)
        assert np.isnan(controls.compute_auroc(refuse, judged, concept_N))


def test_level_0_is_left_out_where_it_is_not_finite(monkeypatch):
    """A run that reads deeper levels alone is over when its controls are measured."""

    def refuse(self, episodes: Dataset) -> torch.Tensor:
        raise NotFinite("activations: level 0 holds NaN or infinity.")

    whole = measure(monkeypatch, say_nothing)
    read = Reader.read
    monkeypatch.setattr(
        Reader,
        "read",
        lambda self, episodes: (refuse if self.levels == (0,) else read)(self, episodes),
    )
    found = measure(monkeypatch, say_nothing)
    assert whole.pop("level_0").easy > 0
    assert found == whole
