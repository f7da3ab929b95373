"""Ablation: all on is the predictor itself, all off its means, one off as by hand; gradients agree
with finite differences, and many sets of gates at once with one by one.

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
from core_model.language_model import HuggingFacePredictor
from core_model.transformer_predictor import TransformerPredictor, compute_identity

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


def draw_gates(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, len(NAMES), generator=generator, dtype=torch.float64)


def switch_off(*components: int) -> Tensor:
    """Returns gates that are 0 for these components and 1 for all others."""
    gates_C = torch.ones(len(NAMES), dtype=torch.float64)
    gates_C[list(components)] = 0
    return gates_C


@torch.no_grad()
def record_outputs(predictor: TransformerPredictor, episodes) -> dict[str, Tensor]:
    """Returns the output of every component, recorded by hooks: the output of an attention head is
    the product of its columns of the out-projection with what it attends to.
    """
    outputs, handles = {}, []
    for b, block in enumerate(predictor.model.blocks, start=1):

        def record_heads(linear, inputs, output, b=b):
            heads = inputs[0].chunk(2, dim=-1)
            columns = linear.weight.chunk(2, dim=1)
            for h in range(2):
                outputs[f"block {b} head {h + 1}"] = heads[h] @ columns[h].T

        def record_mlp(mlp, inputs, output, b=b):
            outputs[f"block {b} mlp"] = output

        handles.append(block.out.register_forward_hook(record_heads))
        handles.append(block.mlp.register_forward_hook(record_mlp))
    inputs = predictor.ablation(episodes, [0], "resampled").inputs(episodes)
    outputs["embedding"] = predictor.model.embed(inputs)
    predictor.model(inputs)
    for handle in handles:
        handle.remove()
    return outputs


# All on, all off, one off.


@pytest.mark.parametrize("kind", KINDS)
def test_with_all_on_it_is_the_predictor_itself(tiny_predictor, reference, episodes, kind):
    ablated = tiny_predictor.ablation(reference, [0, 1, 2], kind)
    z_NLD = ablated.read(ablated.inputs(episodes), torch.ones(len(NAMES)))
    expected = tiny_predictor.read(episodes, [0, 1, 2])
    torch.testing.assert_close(z_NLD, expected, rtol=1e-5, atol=1e-5)


def test_components_are_named_in_the_order_of_their_gates(ablated):
    assert ablated.names == NAMES and ablated.components == len(NAMES)


def test_with_all_off_it_is_the_embedding_and_means_and_biases(precise, reference, episodes):
    ablated = precise.ablation(reference, [1, 2], "mean")
    outputs = record_outputs(precise, reference)
    mean = {name: output.mean(dim=0)[-1] for name, output in outputs.items()}
    z_NLD = ablated.read(ablated.inputs(episodes), switch_off(*range(6)))
    z_ND = record_outputs(precise, episodes)["embedding"][:, -1]
    for i, block in enumerate(precise.model.blocks):
        z_ND = z_ND + sum(mean[name] for name in NAMES[3 * i : 3 * i + 3]) + block.out.bias
        torch.testing.assert_close(z_NLD[:, i], z_ND, rtol=0, atol=1e-12)


def test_with_all_off_earlier_steps_have_no_effect(precise, reference, episodes):
    ablated = precise.ablation(reference, [2], "mean")
    inputs_NTC = ablated.inputs(episodes)
    changed_NTC = torch.cat([inputs_NTC.roll(1, dims=0)[:, :-1], inputs_NTC[:, -1:]], dim=1)
    off, on = switch_off(*range(6)), switch_off()
    assert torch.equal(ablated.read(inputs_NTC, off), ablated.read(changed_NTC, off))
    z_NLD, changed_NLD = ablated.read(inputs_NTC, on), ablated.read(changed_NTC, on)
    assert not torch.allclose(z_NLD, changed_NLD, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("component", range(len(NAMES)))
def test_one_off_is_its_reference_in_its_place(precise, reference, episodes, component, kind):
    """A hook subtracts the component's output and adds its reference: its mean over other episodes,
    or its output for the previous episode.
    """
    name = NAMES[component]
    output = record_outputs(precise, episodes)[name]
    replacement = output.roll(1, dims=0)
    if kind == "mean":
        replacement = record_outputs(precise, reference)[name].mean(dim=0)
    model = deepcopy(precise.model)
    block = model.blocks[component // 3]
    module = block.mlp if name.endswith("mlp") else block.out
    module.register_forward_hook(lambda module, inputs, whole: whole - output + replacement)
    by_hand = TransformerPredictor(model, precise.world).read(episodes, [0, 1, 2])

    ablated = precise.ablation(reference, [0, 1, 2], kind)
    z_NLD = ablated.read(ablated.inputs(episodes), switch_off(component))
    torch.testing.assert_close(z_NLD, by_hand, rtol=0, atol=1e-10)
    assert (z_NLD - precise.read(episodes, [0, 1, 2])).abs().max() > 1e-4


@torch.no_grad()
def test_a_head_whose_weights_are_zero_has_no_output_to_switch_off(precise, reference, episodes):
    model = deepcopy(precise.model)
    model.blocks[0].out.weight[:, 8:] = 0
    ablated = TransformerPredictor(model, precise.world).ablation(reference, [2], "mean")
    inputs = ablated.inputs(episodes)
    intact = ablated.read(inputs, switch_off())
    torch.testing.assert_close(ablated.read(inputs, switch_off(1)), intact, rtol=0, atol=1e-12)
    assert not torch.allclose(ablated.read(inputs, switch_off(0)), intact, atol=1e-4)


def test_a_swapped_episode_brings_its_own_outputs(precise, reference, episodes):
    """Resampled: each episode gets the outputs for the previous episode of the batch, whatever the
    others are.
    """
    ablated = precise.ablation(reference, [2], "resampled")
    inputs = ablated.inputs(episodes)
    gates_C = switch_off(0, 2)
    z_NLD = ablated.read(inputs, gates_C)
    swapped_NLD = ablated.read(inputs[[0, 1, 3, 2, *range(4, 12)]], gates_C)
    moved_N = (z_NLD - swapped_NLD).abs().amax(dim=(1, 2)) > 1e-9
    assert moved_N.tolist() == [False, False, True, True, True, *[False] * 7]
    torch.testing.assert_close(ablated.read(inputs[[3, 4, 3]], gates_C)[1], z_NLD[4])
    equal_NLD = ablated.read(inputs[[5, 5, 5]], draw_gates())
    intact_NLD = ablated.read(inputs[[5]], switch_off())
    torch.testing.assert_close(equal_NLD[:1], intact_NLD, rtol=0, atol=1e-12)


# Gradients, batches, levels.


def test_gradients_agree_with_finite_differences(ablated, episodes):
    inputs = ablated.inputs(episodes)[:4]
    gates_C = draw_gates().requires_grad_()
    assert torch.autograd.gradcheck(lambda gates_C: ablated.read(inputs, gates_C), gates_C)


def test_the_predictor_gets_no_gradient_and_does_not_change(ablated, precise, reference, episodes):
    before = compute_identity(precise.model)
    z_NLD = precise.read(episodes, [0, 1, 2])
    gates_C = draw_gates().requires_grad_()
    ablated.read(ablated.inputs(episodes), gates_C).square().sum().backward()
    assert gates_C.grad.isfinite().all() and (gates_C.grad != 0).all()
    for weight in precise.model.parameters():
        assert weight.grad is None and not weight.requires_grad
    assert compute_identity(precise.model) == before == precise.identity
    assert torch.equal(precise.read(episodes, [0, 1, 2]), z_NLD)


@pytest.mark.parametrize("own_inputs", [False, True])
def test_many_sets_of_gates_at_once_give_what_they_give_one_by_one(ablated, episodes, own_inputs):
    inputs = ablated.inputs(episodes)
    gates_KC = draw_gates(5).requires_grad_()
    inputs_KN = torch.stack([inputs.roll(k if own_inputs else 0, dims=0)[:6] for k in range(5)])
    if own_inputs:
        together = vmap(ablated.read)(inputs_KN, gates_KC)
    else:
        together = vmap(ablated.read, (None, 0))(inputs[:6], gates_KC)
    alone = torch.stack([ablated.read(inputs_KN[k], gates_KC[k]) for k in range(5)])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-12)
    (gradient_together,) = torch.autograd.grad(together.square().sum(), gates_KC)
    (gradient_alone,) = torch.autograd.grad(alone.square().sum(), gates_KC)
    torch.testing.assert_close(gradient_together, gradient_alone)


@pytest.mark.parametrize("levels", [[0], [1], [2], [2, 0]])
def test_fewer_levels_are_the_same_levels_and_deeper_components_have_no_effect(
    precise, reference, episodes, levels, ablated
):
    fewer = precise.ablation(reference, levels, ablated.kind)
    inputs = ablated.inputs(episodes)
    gates_C = draw_gates().requires_grad_()
    z_NLD = fewer.read(inputs, gates_C)
    torch.testing.assert_close(z_NLD, ablated.read(inputs, gates_C)[:, levels], rtol=0, atol=1e-12)
    if levels != [0]:
        (gradient_C,) = torch.autograd.grad(z_NLD.square().sum(), gates_C)
        assert ((gradient_C != 0) == (torch.arange(6) < 3 * max(levels))).all()


def test_steps_and_blocks_that_are_not_read_are_not_computed(tiny_predictor, reference, episodes):
    """Block 2, read at its end: keys and values of 8 steps, and for the last step alone a query,
    sums over 8 steps, the out-projection and the MLP.
    """

    def count_flops(level: int) -> float:
        ablated = tiny_predictor.ablation(reference, [level], "mean")
        inputs = ablated.inputs(episodes)
        with FlopCounterMode(display=False) as counter:
            ablated.read(inputs, torch.ones(6))
        return counter.get_total_flops() / len(episodes)

    last = 2 * (8 * 2 * 16 * 16 + 16 * 16 + 2 * 8 * 16 + 16 * 16 + 2 * 16 * 64)
    assert count_flops(0) == 0 and count_flops(1) == last
    assert count_flops(2) == tiny_predictor.flops(reference)[1] + last


def test_means_do_not_depend_on_batches(precise, reference, monkeypatch):
    whole = precise.ablation(reference, [2], "mean").means
    monkeypatch.setattr("core_model.ablation.BATCH", 7)
    in_batches = precise.ablation(reference, [2], "mean").means
    for outputs, outputs_in_batches in zip(whole, in_batches, strict=True):
        torch.testing.assert_close(tuple(outputs), tuple(outputs_in_batches), rtol=0, atol=1e-12)


# Refusals.


def test_a_predictor_that_cannot_be_ablated_is_refused_with_one_that_can(tiny_predictor, reference):
    assert tiny_predictor.can_ablate and not HuggingFacePredictor.can_ablate
    language_model = object.__new__(HuggingFacePredictor)
    object.__setattr__(language_model, "name", "SmolLM2")
    with pytest.raises(UserError, match=r"SmolLM2 cannot be switched off.*core_model=transformer"):
        language_model.ablation(reference, [1], "mean")


def test_a_kind_or_a_level_that_does_not_exist_is_refused(tiny_predictor, reference):
    with pytest.raises(UserError, match="kind zero"):
        tiny_predictor.ablation(reference, [1], "zero")
    with pytest.raises(UserError, match="no level 3"):
        tiny_predictor.ablation(reference, [3], "mean")
