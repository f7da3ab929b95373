"""Activations: read once, kept under a key of all that they depend on, and refused where they are no numbers."""

from collections.abc import Sequence

import pytest
import torch
from datasets import Dataset, Features, List, Value
from torch import Tensor

from core_model.activations import activations, check_levels, opinions
from core_model.predictor import Opinions, Predictor, content_hash
from refusal import Refusal

EPISODES = Dataset.from_dict({"text": ["no", "yes", "maybe"], "human": [False, True, False]})
LEVELS = (0, 2)


class Planted(Predictor):
    """Its activations are known: the text's length at level 0, and one hundred more a level; the position beside it. Counts its readings."""

    name, n_levels, width, can_write = "planted", 3, 2, False

    def __init__(self, identity: str = "one", broken: tuple[int, float] | None = None) -> None:
        self.identity, self.broken, self.readings = identity, broken, 0

    def read(self, episodes: Dataset, levels: Sequence[int], position: int = -1) -> Tensor:
        self.readings += 1
        z_NLD = torch.tensor([[[len(text) + 100.0 * level, position] for level in levels] for text in episodes["text"]])
        if self.broken and self.broken[0] in levels:
            z_NLD[1, list(levels).index(self.broken[0]), 0] = self.broken[1]
        return z_NLD

    def opinions(self, episodes: Dataset, level: int | None = None, z_ND: Tensor | None = None, position: int = -1) -> Opinions:
        raise NotImplementedError

    def flops(self, episodes: Dataset) -> Tensor:
        raise NotImplementedError


def test_what_was_read_comes_back_and_is_read_once(tmp_path):
    predictor = Planted()
    for _ in range(2):
        z_NLD = activations(predictor, EPISODES, ("text",), LEVELS, tmp_path)
        assert z_NLD.tolist() == [[[2, -1], [202, -1]], [[3, -1], [203, -1]], [[5, -1], [205, -1]]] and z_NLD.dtype == torch.float32
    assert predictor.readings == 1


@pytest.mark.parametrize("levels", [[0], [2, 1], [0, 1, 2]])
def test_a_trained_predictor_comes_back_as_it_reads(tiny_predictor, vault, tmp_path, levels):
    episodes = vault.episodes("disputed", 50, seed=0)
    for _ in range(2):
        assert torch.equal(activations(tiny_predictor, episodes, vault.reads, levels, tmp_path), tiny_predictor.read(episodes, levels))


@pytest.mark.parametrize(
    "changed",
    [
        {"predictor": Planted("other")},
        {"levels": (0, 1)},
        {"levels": (2, 0)},
        {"position": 0},
        {"episodes": EPISODES.select([0, 1])},
        {"episodes": EPISODES.select([1, 0, 2])},
        {"columns": ("text", "human")},
    ],
)
def test_whatever_activations_depend_on_changes_the_key(tmp_path, changed):
    predictor = Planted()
    asked = {"predictor": predictor, "episodes": EPISODES, "columns": ("text",), "levels": LEVELS}
    activations(**asked, cache=tmp_path)
    other = asked | changed
    expected = Planted().read(other["episodes"], other["levels"], other.get("position", -1))
    before = other["predictor"].readings
    assert torch.equal(activations(**other, cache=tmp_path), expected)
    assert other["predictor"].readings == before + 1 and len(list(tmp_path.rglob("*.safetensors"))) == 2


@pytest.mark.parametrize(
    "alike",
    [
        EPISODES.map(lambda row: {"human": not row["human"]}, keep_in_memory=True),
        EPISODES.rename_column("human", "concept"),
        EPISODES.select([2, 1, 0]).select([2, 1, 0]),
        Dataset.from_dict({"text": ["no", "yes", "maybe"]}),
    ],
)
def test_what_the_predictor_does_not_read_leaves_the_key_alone(tmp_path, alike):
    predictor = Planted()
    for episodes in (EPISODES, alike):
        activations(predictor, episodes, ("text",), LEVELS, tmp_path)
    assert predictor.readings == 1


def test_another_version_of_the_reader_reads_anew(tmp_path, monkeypatch):
    predictor = Planted()
    activations(predictor, EPISODES, ("text",), LEVELS, tmp_path)
    monkeypatch.setattr("core_model.activations.READER_VERSION", -1)
    activations(predictor, EPISODES, ("text",), LEVELS, tmp_path)
    assert predictor.readings == 2


def test_the_hash_of_symbols_follows_their_content_and_not_how_they_are_stored(vault):
    episodes = vault.episodes("easy", 40, seed=0)
    picked = episodes.select([*range(1, 40), 0]).select([39, *range(39)])
    assert content_hash(picked, vault.reads) == content_hash(episodes, vault.reads)
    assert content_hash(episodes.select(range(1, 40)), vault.reads) != content_hash(episodes.select(range(39)), vault.reads)
    assert content_hash(episodes, vault.reads) != content_hash(episodes, vault.reads[:1])
    first = episodes[0]
    changed = Dataset.from_list([first | {"action": [*first["action"][:-1], (first["action"][-1] + 1) % 2]}, *episodes.select(range(1, 40))])
    assert content_hash(changed.cast(episodes.features), vault.reads) != content_hash(episodes, vault.reads)


def test_the_hash_of_symbols_tells_long_episodes_from_many():
    def hashed(rows: list[list[int]]) -> str:
        return content_hash(Dataset.from_dict({"action": rows}, Features({"action": List(Value("int64"), length=len(rows[0]))})), ("action",))

    assert hashed([[1, 2], [3, 4]]) != hashed([[1, 2, 3, 4]])
    assert hashed([[1, 2], [3, 4]]) == hashed([[1, 2], [3, 4]])


def test_a_damaged_file_is_read_anew(tmp_path, capsys):
    predictor = Planted()
    whole = activations(predictor, EPISODES, ("text",), LEVELS, tmp_path).clone()
    (path,) = tmp_path.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])
    assert torch.equal(activations(predictor, EPISODES, ("text",), LEVELS, tmp_path), whole)
    assert predictor.readings == 2 and "is damaged: made anew." in capsys.readouterr().err


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_refused_by_level_and_not_kept(tmp_path, value):
    predictor = Planted(broken=(2, value))
    with pytest.raises(Refusal, match="level 2 holds NaN or infinity"):
        activations(predictor, EPISODES, ("text",), (1, 2), tmp_path)
    assert not list(tmp_path.rglob("*.safetensors"))
    assert activations(predictor, EPISODES, ("text",), (1, 0), tmp_path).isfinite().all()


@pytest.mark.parametrize("levels", [[3], [-1], [0, 3]])
def test_a_level_that_the_predictor_lacks_is_refused_before_reading(tmp_path, levels):
    predictor = Planted()
    with pytest.raises(Refusal, match=r"planted has no level -?\d\. It has 0 to 2\."):
        activations(predictor, EPISODES, ("text",), levels, tmp_path)
    assert predictor.readings == 0 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("levels", [[], [1, 1]])
def test_no_level_or_one_twice_is_refused(levels):
    with pytest.raises(Refusal, match="Name each level once"):
        check_levels(Planted(), levels)
    check_levels(Planted(), [2, 0, 1])


def test_opinions_come_back_as_they_were_said_and_are_asked_for_once(tiny_predictor, vault, tmp_path, monkeypatch):
    episodes, said = vault.episodes("disputed", 50, seed=0), []
    asked = type(tiny_predictor).opinions
    monkeypatch.setattr(type(tiny_predictor), "opinions", lambda self, episodes: said.append(len(episodes)) or asked(self, episodes))
    for one in (episodes, episodes, episodes.select(range(20))):
        for kept, now in zip(opinions(tiny_predictor, one, vault, tmp_path), asked(tiny_predictor, one), strict=True):
            assert torch.equal(kept, now)
    assert said == [50, 20]
