"""Ablation: all on is the predictor itself, all off its means, one off as by hand; gradients by
differences, many at once as one by one.

N: episodes, T: steps, C: components, D: width, K: sets of gates.
"""

from copy import deepcopy

import pytest
import torch
from torch import Tensor
from torch.func import vmap
from torch.utils.flop_counter import FlopCounterMode

from console.errors import UserError
from core_model.ablation import Ablated
from core_model.hashing import hash_weights
from core_model.language_model import HuggingFacePredictor
from core_model.transformer_predictor import TransformerPredictor

KINDS = ["mean", "resampled"]
NAMES = (
    "block 1 head 1",
    "block 1 head 2",
    "block 1 mlp",
    "block 2 head 1",
    "block 2 head 2",
    "block 2 mlp",
)


@pytest.fixture(scope="module")
def reference(vault):
    return vault.episodes("easy", 50, seed=0)


@pytest.fixture(scope="module")
def episodes(vault):
    return vault.episodes("disputed", 12, seed=0)


@pytest.fixture(scope="module")
def precise(tiny_predictor, vault) -> TransformerPredictor:
    """The same predictor in float64."""
    return TransformerPredictor(deepcopy(tiny_predictor.model).double(), vault)


@pytest.fixture(params=KINDS)
def ablated(request, precise, reference) -> Ablated:
    return precise.ablation(reference, [0, 1, 2], request.param)


def gates(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(
        *shape, len(NAMES), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def off(*components: int) -> Tensor:
    return torch.tensor(
        [float(c not in components) for c in range(len(NAMES))], dtype=torch.float64
    )


@torch.no_grad()
def said(predictor: TransformerPredictor, episodes) -> dict[str, Tensor]:
    """Returns what every component says, heard by hooks: a head's output is the product of its
    columns of the out-projection with what it gathers.
    """
    heard, handles = {}, []
    for b, block in enumerate(predictor.model.blocks, start=1):

        def keep_heads(linear, inputs, output, b=b):
            for h, (gathered, columns) in enumerate(
                zip(inputs[0].chunk(2, dim=-1), linear.weight.chunk(2, dim=1), strict=True), start=1
            ):
                heard[f"block {b} head {h}"] = gathered @ columns.T

        def keep_mlp(mlp, inputs, output, b=b):
            heard[f"block {b} mlp"] = output

        handles += [
            block.out.register_forward_hook(keep_heads),
            block.mlp.register_forward_hook(keep_mlp),
        ]
    inputs = predictor.ablation(episodes, [0], "resampled").inputs(episodes)
    heard["embedding"] = predictor.model.embed(inputs)
    predictor.model(inputs)
    for handle in handles:
        handle.remove()
    return heard


# All on, all off, one off.


@pytest.mark.parametrize("kind", KINDS)
def test_with_all_on_it_is_the_predictor_itself(tiny_predictor, reference, episodes, kind):
    ablated = tiny_predictor.ablation(reference, [0, 1, 2], kind)
    z_NLD = ablated.read(ablated.inputs(episodes), torch.ones(len(NAMES)))
    torch.testing.assert_close(
        z_NLD, tiny_predictor.read(episodes, [0, 1, 2]), rtol=1e-5, atol=1e-5
    )


def test_components_are_named_in_the_order_of_their_gates(ablated):
    assert ablated.names == NAMES and ablated.components == len(NAMES)


def test_with_all_off_it_is_the_embedding_and_means_and_biases(precise, reference, episodes):
    ablated, mean = (
        precise.ablation(reference, [1, 2], "mean"),
        {name: part.mean(dim=0)[-1] for name, part in said(precise, reference).items()},
    )
    z_NLD = ablated.read(ablated.inputs(episodes), off(*range(6)))
    z_ND = said(precise, episodes)["embedding"][:, -1]
    for place, block in enumerate(precise.model.blocks):
        z_ND = z_ND + sum(mean[name] for name in NAMES[3 * place : 3 * place + 3]) + block.out.bias
        torch.testing.assert_close(z_NLD[:, place], z_ND, rtol=0, atol=1e-12)


def test_with_all_off_it_hears_nothing_that_came_before(precise, reference, episodes):
    ablated = precise.ablation(reference, [2], "mean")
    inputs_NTC = ablated.inputs(episodes)
    changed_NTC = torch.cat([inputs_NTC.roll(1, dims=0)[:, :-1], inputs_NTC[:, -1:]], dim=1)
    assert torch.equal(
        ablated.read(inputs_NTC, off(*range(6))), ablated.read(changed_NTC, off(*range(6)))
    )
    assert not torch.allclose(
        ablated.read(inputs_NTC, off()), ablated.read(changed_NTC, off()), atol=1e-3
    )


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("component", range(len(NAMES)))
def test_one_off_is_its_reference_added_by_hand_in_its_place(
    precise, reference, episodes, component, kind
):
    """A hook takes away what the component says and adds what stands in for it: its mean over other
    episodes, or the episode before.
    """
    name, own = NAMES[component], said(precise, episodes)
    stands_in = (
        said(precise, reference)[name].mean(dim=0) if kind == "mean" else own[name].roll(1, dims=0)
    )
    model = deepcopy(precise.model)
    block = model.blocks[component // 3]
    module = block.mlp if name.endswith("mlp") else block.out
    module.register_forward_hook(lambda module, inputs, output: output - own[name] + stands_in)
    ablated = precise.ablation(reference, [0, 1, 2], kind)
    by_hand = TransformerPredictor(model, precise.world).read(episodes, [0, 1, 2])
    z_NLD = ablated.read(ablated.inputs(episodes), off(component))
    torch.testing.assert_close(z_NLD, by_hand, rtol=0, atol=1e-10)
    assert (z_NLD - precise.read(episodes, [0, 1, 2])).abs().max() > 1e-4


@torch.no_grad()
def test_a_head_whose_weights_are_zero_has_no_output_to_take_away(precise, reference, episodes):
    model = deepcopy(precise.model)
    model.blocks[0].out.weight[:, 8:] = 0
    ablated = TransformerPredictor(model, precise.world).ablation(reference, [2], "mean")
    inputs = ablated.inputs(episodes)
    torch.testing.assert_close(
        ablated.read(inputs, off(1)), ablated.read(inputs, off()), rtol=0, atol=1e-12
    )
    assert not torch.allclose(ablated.read(inputs, off(0)), ablated.read(inputs, off()), atol=1e-4)


def test_a_swapped_episode_brings_its_own_outputs(precise, reference, episodes):
    """Resampled: each episode is given the outputs of the one before it in the batch, whatever the
    others are.
    """
    ablated = precise.ablation(reference, [2], "resampled")
    inputs = ablated.inputs(episodes)
    z_NLD, swapped = (
        ablated.read(inputs, off(0, 2)),
        ablated.read(inputs[[0, 1, 3, 2, *range(4, 12)]], off(0, 2)),
    )
    moved_N = (z_NLD - swapped).abs().amax(dim=(1, 2)) > 1e-9
    assert moved_N.tolist() == [False, False, True, True, True, *[False] * 7]
    torch.testing.assert_close(ablated.read(inputs[[3, 4, 3]], off(0, 2))[1], z_NLD[4])
    alike = ablated.read(inputs[[5, 5, 5]], gates())
    torch.testing.assert_close(alike[:1], ablated.read(inputs[[5]], off()), rtol=0, atol=1e-12)


# Gradients, batches, levels.


def test_gradients_are_those_of_finite_differences(ablated, episodes):
    inputs, gates_C = ablated.inputs(episodes)[:4], gates().requires_grad_()
    assert torch.autograd.gradcheck(lambda gates_C: ablated.read(inputs, gates_C), gates_C)


def test_no_gradient_reaches_the_predictor_and_nothing_of_it_changes(
    ablated, precise, reference, episodes
):
    before, z_NLD = hash_weights(precise.model), precise.read(episodes, [0, 1, 2])
    gates_C = gates().requires_grad_()
    ablated.read(ablated.inputs(episodes), gates_C).square().sum().backward()
    assert gates_C.grad.isfinite().all() and (gates_C.grad != 0).all()
    assert all(
        weight.grad is None and not weight.requires_grad for weight in precise.model.parameters()
    )
    assert hash_weights(precise.model) == before == precise.identity
    assert torch.equal(precise.read(episodes, [0, 1, 2]), z_NLD)


@pytest.mark.parametrize("own_inputs", [False, True])
def test_many_sets_of_gates_at_once_give_what_they_give_one_by_one(ablated, episodes, own_inputs):
    inputs, gates_KC = ablated.inputs(episodes), gates(5).requires_grad_()
    inputs_K = (
        torch.stack([inputs.roll(k, dims=0)[:6] for k in range(5)]) if own_inputs else inputs[:6]
    )
    z_KNLD = vmap(ablated.read, (0 if own_inputs else None, 0))(inputs_K, gates_KC)
    alone = torch.stack(
        [ablated.read(inputs_K[k] if own_inputs else inputs_K, gates_KC[k]) for k in range(5)]
    )
    torch.testing.assert_close(z_KNLD, alone, rtol=0, atol=1e-12)
    torch.testing.assert_close(
        *(torch.autograd.grad(z.square().sum(), gates_KC)[0] for z in (z_KNLD, alone))
    )


@pytest.mark.parametrize("levels", [[0], [1], [2], [2, 0]])
def test_fewer_levels_are_the_same_levels_and_deeper_components_change_nothing(
    precise, reference, episodes, levels, ablated
):
    fewer = precise.ablation(reference, levels, ablated.kind)
    inputs, gates_C = ablated.inputs(episodes), gates().requires_grad_()
    z_NLD = fewer.read(inputs, gates_C)
    torch.testing.assert_close(z_NLD, ablated.read(inputs, gates_C)[:, levels], rtol=0, atol=1e-12)
    if levels != [0]:
        gradient_C = torch.autograd.grad(z_NLD.square().sum(), gates_C)[0]
        assert ((gradient_C != 0) == (torch.arange(6) < 3 * max(levels))).all()


def test_steps_and_blocks_that_nothing_reads_are_not_computed(tiny_predictor, reference, episodes):
    """Block 2 read at its end: keys and values of 8 steps, and for the last alone a query, sums
    over 8 steps, the out-projection and the MLP.
    """

    def flops(level: int) -> float:
        ablated = tiny_predictor.ablation(reference, [level], "mean")
        inputs = ablated.inputs(episodes)
        with FlopCounterMode(display=False) as counter:
            ablated.read(inputs, torch.ones(6))
        return counter.get_total_flops() / len(episodes)

    last = 2 * (8 * 2 * 16 * 16 + 16 * 16 + 2 * 8 * 16 + 16 * 16 + 2 * 16 * 64)
    assert flops(0) == 0 and flops(1) == last
    assert flops(2) == tiny_predictor.flops(reference)[1] + last


def test_means_do_not_depend_on_batches(precise, reference, monkeypatch):
    whole = precise.ablation(reference, [2], "mean")
    monkeypatch.setattr("core_model.ablation.BATCH", 7)
    for parts, in_parts in zip(
        whole.means, precise.ablation(reference, [2], "mean").means, strict=True
    ):
        torch.testing.assert_close(tuple(parts), tuple(in_parts), rtol=0, atol=1e-12)


# Refusals.


def test_a_predictor_that_cannot_be_ablated_says_which_can(tiny_predictor, reference):
    assert tiny_predictor.can_ablate and not HuggingFacePredictor.can_ablate
    language_model = object.__new__(HuggingFacePredictor)
    object.__setattr__(language_model, "name", "SmolLM2")
    with pytest.raises(UserError, match=r"SmolLM2 cannot be switched off.*core_model=transformer"):
        language_model.ablation(reference, [1], "mean")


def test_a_kind_or_a_level_that_is_not_there_is_refused(tiny_predictor, reference):
    with pytest.raises(UserError, match="kind zero"):
        tiny_predictor.ablation(reference, [1], "zero")
    with pytest.raises(UserError, match="no level 3"):
        tiny_predictor.ablation(reference, [3], "mean")
