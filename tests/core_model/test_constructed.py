"""The constructed predictor of the ladder: what its levels hold, how it must be read, what swaps of
the known subspaces do, and what it costs, each known by hand.

N: episodes, D: width, L: levels.
"""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from compute.trainer import Trainer
from configs.build import build
from console.errors import UserError
from core_model.constructed import Circuit, ConstructedPredictor
from core_model.hashing import hash_weights
from storage.run_folder import HEADS
from tests.conftest import node
from tests.core_model.checks import check_reading_on
from tests.running import train
from worlds.ladder import Ladder

TRAINER = Trainer(accelerator="cpu", save_every=1e9, bar=False)
CHANCE = 0.08
"""Four standard deviations of the accuracy of a coin on 600 episodes."""
DEEP = {"concept_level": 2, "human_level": 1}


def make_world(**changed) -> Ladder:
    values = {"bits": 24, **DEEP} | changed
    return build(node("world/ladder.yaml", **values), "world")


def make_predictor(world, **changed) -> ConstructedPredictor:
    values = {"concept_width": 4, "human_width": 2, "concept_amplitude": 0.7} | changed
    recipe = build(node("core_model/constructed.yaml", **values), "core_model")
    return recipe.predictor(world, Path("unused"), TRAINER)


def read_signs(episodes) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns X and H, +1 or -1."""
    return tuple(2.0 * torch.tensor(episodes[name][:]) - 1 for name in ("concept", "human"))


def fit_probe(z_ND, sign_N):
    """Returns the accuracy of a linear probe on the second half of the episodes."""
    half = len(z_ND) // 2
    z_ND = torch.cat([z_ND, torch.ones(len(z_ND), 1)], dim=1).double()
    weight_D1 = torch.linalg.lstsq(z_ND[:half], sign_N[:half, None].double()).solution
    right_N = (z_ND[half:] @ weight_D1)[:, 0].sign() == sign_N[half:]
    return right_N.double().mean().item()


def measure_probes(predictor, episodes) -> list[list[float]]:
    """Returns the accuracy of linear probes for X, and for H, at each level."""
    z_NLD = predictor.read(episodes, range(predictor.n_levels))
    return [
        [fit_probe(z_ND, sign_N) for z_ND in z_NLD.unbind(1)] for sign_N in read_signs(episodes)
    ]


def swap_known(predictor, episodes, level: int, which: int) -> torch.Tensor:
    """Returns activations whose part of X (0), or of H (1), is that of the next episode."""
    z_ND = predictor.read(episodes, [level])[:, 0]
    basis_DR = predictor.known_subspaces(level)[which].float()
    return z_ND + (z_ND.roll(-1, 0) - z_ND) @ basis_DR @ basis_DR.T


def assert_opinions_close(opinions, expected) -> None:
    for opinion_N, expected_N in zip(opinions, expected, strict=True):
        torch.testing.assert_close(opinion_N, expected_N, atol=1e-3, rtol=0)


@pytest.fixture(scope="module")
def world() -> Ladder:
    return make_world()


@pytest.fixture(scope="module")
def predictor(world) -> ConstructedPredictor:
    return make_predictor(world)


@pytest.fixture(scope="module")
def episodes(world):
    return world.episodes("tampered", 1200, seed=0)


def test_x_and_h_become_linear_at_their_levels(predictor, episodes):
    """X is complete at level 2, H at level 1; no level below tells anything of them."""
    of_concept, of_human = measure_probes(predictor, episodes)
    assert of_concept[2] == 1 and max(abs(right - 0.5) for right in of_concept[:2]) < CHANCE
    assert of_human[1:] == [1, 1] and abs(of_human[0] - 0.5) < CHANCE


def test_opinions_are_exact(predictor, episodes):
    assert_opinions_close(
        predictor.opinions(episodes), [10 * sign_N for sign_N in read_signs(episodes)]
    )


@pytest.mark.parametrize("level", [0, 1, 2])
def test_a_code_holds_the_product_of_the_first_bits(predictor, episodes, level):
    z_ND = predictor.read(episodes, [level])[:, 0]
    product_N = z_ND @ predictor.stream.concept.read_CD[0].float()
    first_bits = 2.0 * torch.tensor(episodes["bit"][:])[:, : level + 1] - 1
    torch.testing.assert_close(product_N, first_bits.prod(dim=1), atol=1e-5, rtol=0)


def test_reading_x_needs_every_coordinate_of_its_code(predictor, episodes):
    """Without one of the four coordinates there are errors; without any other coordinate there are
    none.
    """
    z_ND = predictor.read(episodes, [2])[:, 0]
    concept_N, _ = read_signs(episodes)
    code = predictor.stream.concept.code_CD[0].nonzero()[:, 0].tolist()
    assert len(code) == 4
    torch.testing.assert_close(
        predictor.stream.concept.code_CD[0, code].abs(), torch.full((4,), 0.5).double()
    )
    for coordinate in range(predictor.width):
        rest = [i for i in range(predictor.width) if i != coordinate]
        right = fit_probe(z_ND[:, rest], concept_N)
        assert (right < 1) == (coordinate in code)


def test_the_embedding_is_a_change_of_basis_with_amplitudes(world):
    weight_DI = make_predictor(world).network.embedding.weight
    amplitudes = torch.ones(24)
    amplitudes[world.concept_chains[0, 0]] = 0.7
    torch.testing.assert_close(
        weight_DI.T @ weight_DI, torch.diag(amplitudes**2), atol=1e-6, rtol=0
    )


def test_several_chains_are_multiplied_by_no_level():
    """X is a product of two chains, H of one: no level tells X, and its opinion is exact."""
    world = make_world(concept_parity=2, concept_level=1, bits=28)
    predictor, episodes = make_predictor(world), world.episodes("tampered", 1200, seed=0)
    of_concept, of_human = measure_probes(predictor, episodes)
    assert max(abs(right - 0.5) for right in of_concept) < CHANCE and of_human[-1] == 1
    factor_NC = predictor.network.concept_readout(predictor.read(episodes, [1])[:, 0])
    chain_1N = 2.0 * torch.tensor(episodes["bit"][:])[:, 2:4] - 1
    torch.testing.assert_close(factor_NC[:, 1], chain_1N.prod(dim=1), atol=1e-5, rtol=0)
    concept_N, human_N = read_signs(episodes)
    assert_opinions_close(predictor.opinions(episodes), (10 * concept_N, 10 * human_N))


def test_a_human_that_is_not_stored_is_linear_at_no_level():
    """The control is the same world with a human that is stored."""
    stored = make_world()
    world = make_world(stores_human=False)
    episodes = world.episodes("tampered", 1200, seed=0)
    predictor = make_predictor(world)
    assert max(abs(right - 0.5) for right in measure_probes(predictor, episodes)[1]) < CHANCE
    assert measure_probes(make_predictor(stored), episodes)[1][-1] == 1
    assert_opinions_close(
        predictor.opinions(episodes), [10 * sign_N for sign_N in read_signs(episodes)]
    )


@pytest.mark.parametrize("stores_human", [True, False])
@pytest.mark.parametrize("level", [0, 1, 2])
def test_swaps_of_known_subspaces_exchange_x_alone_or_h_alone(level, stores_human):
    world = make_world(stores_human=stores_human, human_parity=2)
    predictor, episodes = make_predictor(world), world.episodes("tampered", 200, seed=0)
    plain = predictor.opinions(episodes)
    for which in (0, 1):
        after = predictor.opinions(episodes, level, swap_known(predictor, episodes, level, which))
        torch.testing.assert_close(after[which], plain[which].roll(-1), atol=1e-3, rtol=0)
        torch.testing.assert_close(after[1 - which], plain[1 - which], atol=1e-3, rtol=0)
    yes_N = plain.concept_N > 0
    assert 50 < (yes_N != yes_N.roll(-1)).sum() < 150


def test_known_subspaces_are_orthonormal_and_apart(predictor):
    ranks = []
    for level in range(3):
        bases = predictor.known_subspaces(level)
        joined_DR = torch.cat(bases, dim=1)
        identity_RR = torch.eye(joined_DR.shape[1], dtype=torch.float64)
        torch.testing.assert_close(joined_DR.T @ joined_DR, identity_RR)
        ranks.append([basis_DR.shape[1] for basis_DR in bases])
    assert ranks == [[3, 2], [2, 1], [1, 1]]


def test_twins_differ_where_the_known_subspace_is(predictor, world):
    """At the last level a flipped bit of evidence moves X's part, and the bit's own coordinate."""
    first, second = world.twins("concept", 50, seed=0)
    moved_ND = predictor.read(second, [2])[:, 0] - predictor.read(first, [2])[:, 0]
    concept_DR, human_DR = (basis_DR.float() for basis_DR in predictor.known_subspaces(2))
    torch.testing.assert_close((moved_ND @ concept_DR).abs(), torch.full((50, 1), 1.4))
    assert (moved_ND @ human_DR).abs().max() < 1e-5


@pytest.mark.parametrize("level", [0, 1, 2])
def test_reading_on_gives_the_levels_of_what_was_written(predictor, episodes, level):
    check_reading_on(predictor, episodes, level)


def test_writing_back_what_was_read_changes_nothing(predictor, episodes):
    z_NLD = predictor.read(episodes, [0, 1, 2])
    for level in range(3):
        assert torch.equal(predictor.read_on(episodes, [0, 1, 2], level, z_NLD[:, level]), z_NLD)


def test_portions_change_nothing(predictor, episodes, monkeypatch):
    z_NLD, plain = predictor.read(episodes, [2, 0]), predictor.opinions(episodes)
    monkeypatch.setattr("core_model.ladder_predictor.PORTION", 70)
    assert len(predictor.portions(episodes, [0])) == 18
    torch.testing.assert_close(predictor.read(episodes, [2, 0]), z_NLD)
    written_ND = z_NLD[:, 1].roll(-1, 0)
    after = predictor.opinions(episodes, 0, written_ND)
    torch.testing.assert_close(after.concept_N, plain.concept_N.roll(-1))
    on_NLD = predictor.read_on(episodes, [2], 0, written_ND)
    torch.testing.assert_close(on_NLD[:, 0], z_NLD[:, 0].roll(-1, 0))


def test_reading_stops_at_the_deepest_level(predictor, episodes):
    ran = []
    handles = []
    for i, block in enumerate(predictor.network.blocks):
        handles.append(block.register_forward_pre_hook(lambda *_, i=i: ran.append(i)))
    predictor.read(episodes, [1, 0])
    for handle in handles:
        handle.remove()
    assert ran == [0]


def test_the_seed_permutes_coordinates_and_turns_codes(world):
    """X's code is elsewhere; another predictor of the same seed is the same."""
    predictors = [make_predictor(world, seed=seed) for seed in (0, 0, 1)]
    identities = [predictor.identity for predictor in predictors]
    assert identities[0] == identities[1] != identities[2]
    codes = [predictor.stream.concept.code_CD[0] for predictor in predictors]
    assert torch.equal(codes[0], codes[1])
    assert set(codes[0].nonzero().flatten().tolist()) != set(codes[2].nonzero().flatten().tolist())


def test_building_it_changes_no_random_state(world):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    make_predictor(world)
    assert torch.rand(1) == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"concept_width": 5},
        {"human_width": 3},
        {"concept_amplitude": 0.8},
        {"human_amplitude": 0.8},
        {"blocks": 3},
    ],
)
def test_every_option_makes_another_predictor(world, predictor, changed):
    assert make_predictor(world, **changed).identity != predictor.identity


def test_it_is_frozen_and_keeps_its_scale(predictor, episodes, tiny_predictor):
    before = hash_weights(predictor.network)
    predictor.opinions(episodes, 0, predictor.read(episodes, [0])[:, 0])
    assert hash_weights(predictor.network) == before
    assert not any(weight.requires_grad for weight in predictor.network.parameters())
    assert predictor.keeps_scale and not tiny_predictor.keeps_scale
    assert predictor.can_write and predictor.can_ablate
    assert tiny_predictor.known_subspaces(0) is None


def test_further_blocks_change_nothing_and_cost_nothing(world, predictor, episodes):
    deeper = make_predictor(world, blocks=4)
    assert deeper.n_levels == 5
    torch.testing.assert_close(
        deeper.read(episodes, [4]), predictor.read(episodes, [2]), atol=0, rtol=0
    )
    flops = deeper.flops(episodes).tolist()
    assert flops[2] == flops[3] == flops[4]


@pytest.mark.parametrize(("level", "blocks"), [((0, 0), 1), ((2, 1), 2), ((1, 3), 3)])
def test_null_is_as_many_blocks_as_complete_both(level, blocks):
    world = make_world(concept_level=level[0], human_level=level[1])
    assert make_predictor(world).n_levels == blocks + 1


def test_flops_by_hand(world, predictor, episodes):
    """The embedding is a matrix of 24 x 24. Block 1 multiplies a chain of X and one of H, with four
    hidden units each; block 2 only that of X.
    """
    embedding, units = 2 * 24 * 24, 2 * 2 * 24 * 4
    expected = [embedding, embedding + 2 * units, embedding + 3 * units]
    assert predictor.flops(episodes).tolist() == expected
    assert predictor.describe_circuit() == Circuit(gates=3, edges=6, depth=2, flops=tuple(expected))


def test_flops_are_those_that_torch_counts(predictor, episodes):
    counts = []
    for level in range(3):
        with FlopCounterMode(display=False) as counter:
            predictor.read(episodes, [level])
        counts.append(counter.get_total_flops() / len(episodes))
    assert counts == predictor.flops(episodes).tolist()


def test_the_circuit_of_several_chains_and_of_an_unstored_human():
    """Two chains of X with two products each; two of H with one each, if H is stored."""
    counts = {}
    for stores_human in (True, False):
        world = make_world(concept_parity=2, human_parity=2, stores_human=stores_human)
        circuit = make_predictor(world).describe_circuit()
        counts[stores_human] = (circuit.gates, circuit.edges, circuit.depth)
    assert counts == {True: (6, 12, 2), False: (4, 8, 2)}


def test_the_price_of_a_step_is_positive_where_nothing_is_multiplied():
    world = make_world(concept_level=0, human_level=0)
    flops = make_predictor(world).flops(world.episodes("easy", 1, 0)).tolist()
    assert flops == [2 * 24 * 24, 2 * 24 * 24]


@pytest.mark.parametrize(
    ("world", "changed", "message"),
    [
        ({"bits": 8}, {}, r"^core_model\.concept_width: 4, with a human_width of 2, needs 9 bits"),
        ({}, {"concept_width": 0}, r"^core_model\.concept_width: 0 is too small. Use 1 or more"),
        ({}, {"human_width": 0}, r"^core_model\.human_width: 0 is too small"),
        ({}, {"concept_amplitude": 0.0}, r"^core_model\.concept_amplitude: 0.0 is too small"),
        ({}, {"human_amplitude": -1.0}, r"^core_model\.human_amplitude: -1.0 is too small"),
        ({}, {"blocks": 1}, r"^core_model\.blocks: 1 leave X unreadable.* Use 2 or more, or null"),
        ({"human_level": 3}, {"blocks": 2}, r"^core_model\.blocks: 2 leave H unreadable"),
    ],
)
def test_impossible_recipes_are_refused_by_their_key(world, changed, message):
    with pytest.raises(UserError, match=message):
        make_predictor(make_world(**world), **changed)


def test_the_bits_that_a_refusal_asks_for_are_enough():
    assert make_predictor(make_world(bits=9)).width == 9


def test_a_human_that_is_not_stored_may_be_deeper_than_the_blocks():
    world = make_world(human_level=5, stores_human=False)
    assert make_predictor(world, blocks=2).n_levels == 3


def test_other_worlds_are_refused(vault):
    with pytest.raises(UserError, match=r"^core_model: constructed .* vault has none. Use world=l"):
        make_predictor(vault)


def test_a_level_that_it_has_not_is_refused(predictor, episodes):
    with pytest.raises(UserError, match="constructed has no level 3"):
        predictor.read(episodes, [3])


def test_a_run_is_judged_with_every_gate_passed(tmp_path):
    """Its one head reads level 1, where X and H are complete."""
    done = train(
        *("world=ladder", "core_model=constructed", "world.bits=16", "levels=[1]", "seeds=1"),
        *("data.train=128", "data.validation=32", "data.test=160", "data.disputed=420"),
        *("data.twins=60", "data.probe=600", "trainer.bar=false"),
        folder=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "ladder, constructed, linear" in done.stdout
    heads = pd.read_parquet(tmp_path / HEADS)
    assert heads["gates_passed"].tolist() == [True], heads["failed_gates"][0]
    assert heads["easy_accuracy"].tolist() == [1.0]
