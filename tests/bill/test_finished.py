"""Finished heads: what several measures share is computed once, and the predictor's switches are
built only where a measure needs them.
"""

from types import SimpleNamespace

import pytest
import torch

from bill.bill import Meter
from bill.finished import FinishedHeads, Stops, describe_finished
from core_model.timing import ReadingCosts
from reporters.linear import Linear
from tests.bill.made import Toy, coins, describe, draw_weights, make_meter, normal
from training.heads import Heads, Predictions

N, COMPONENTS = 80, 3


class Predictor:
    """A predictor that counts how often its switches are built."""

    def __init__(self, can_ablate: bool) -> None:
        self.can_ablate = can_ablate
        self.built = 0

    def ablation(self, reference: object, levels: tuple[int, ...], kind: str) -> object:
        self.built += 1
        toy = Toy((COMPONENTS,), torch.eye(COMPONENTS))
        toy.inputs = lambda episodes: episodes
        return toy


def describe_run(predictor: Predictor) -> FinishedHeads:
    z_NLD = normal(N, 1, COMPONENTS)
    weights = draw_weights(Linear(1, COMPONENTS), (1, 3, 1))
    mean_LD, std_LD = torch.zeros(1, COMPONENTS), torch.ones(1, COMPONENTS)
    heads = Heads(
        Linear(1, COMPONENTS), weights, mean_LD, std_LD, (0,), (0, 1, 2), (1.0,), torch.zeros(3)
    )
    zeros_KN = torch.zeros(3, N, dtype=torch.long)
    examples = SimpleNamespace(z_NLD=z_NLD, human_N=coins(N))
    material = SimpleNamespace(train=z_NLD[:, 0], examples=examples)
    reader = SimpleNamespace(predictor=predictor, levels=(0,))
    predictions = {"train": Predictions(torch.zeros(3, N), zeros_KN, zeros_KN)}
    return describe_finished(heads, predictions, material, reader, ReadingCosts((0.0,), (0.0,)))


def test_the_switches_of_a_predictor_are_built_once_and_only_where_a_measure_needs_them(
    monkeypatch,
):
    predictor = Predictor(can_ablate=True)
    heads = describe_run(predictor)
    make_meter("edges", "steps", "seconds")(heads)
    assert predictor.built == 0
    monkeypatch.setattr("bill.bill.choose_part_size", lambda n, run, budget: 1)
    bill = make_meter("edges", "explanation")(heads)
    assert predictor.built == 1
    assert len(bill["explanation_bits"].value_K) == 3


def test_of_a_predictor_without_switches_there_is_no_explanation():
    heads = describe_run(Predictor(can_ablate=False))
    assert make_meter("explanation")(heads) == {}


def test_live_edges_and_codes_are_computed_once(monkeypatch):
    calls = []
    for name in ("find_live_edges", "encode"):
        function = getattr(__import__("bill.finished").finished, name)

        def count(*given, name=name, function=function):
            calls.append(name)
            return function(*given)

        monkeypatch.setattr(f"bill.finished.{name}", count)
    heads = describe_run(Predictor(can_ablate=True))
    measures = make_meter("two_part", "edges", "flops", "prequential", "explanation").measures
    Meter(measures)(heads)
    assert sorted(calls) == ["encode", "find_live_edges"]


@pytest.mark.parametrize("which", [slice(0, 2), slice(3, 6), slice(None, None, 2)])
def test_selected_heads_keep_their_weights_and_stops(which):
    weights = draw_weights(Linear(1, 3), (2, 3, 2))
    level_KN = torch.arange(12)[:, None].expand(12, 5)
    heads = describe(
        Linear(1, 3), weights, normal(5, 2, 3), coins(5), {"train": Stops(level_KN, level_KN + 100)}
    )
    chosen = heads.select(which)
    places = [place for group in (range(6), range(6, 12)) for place in group[which]]
    assert chosen.grid == (2, len(places) // 2, 1) and chosen.count == len(places)
    assert torch.equal(chosen.weights["bias"].flatten(), weights["bias"].flatten()[places])
    assert chosen.stops["train"].level_KN[:, 0].tolist() == places
    assert chosen.stops["train"].exit_KN[:, 0].tolist() == [place + 100 for place in places]


def test_a_split_stack_holds_all_heads_in_order():
    weights = draw_weights(Linear(1, 3), (1, 3, 2))
    heads = describe(Linear(1, 3), weights, normal(5, 1, 3), coins(5))
    assert list(heads.split(6)) == [heads]
    parts = list(heads.split(4))
    assert [part.grid for part in parts] == [(1, 4, 1), (1, 2, 1)]
    biases = torch.cat([part.weights["bias"].flatten() for part in parts])
    assert torch.equal(biases, weights["bias"].flatten())
