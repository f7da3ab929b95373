"""The attention head: it follows pointers for as many hops as it is told and stops there; and it halts evenly before it is trained.

K: heads, N: episodes, L: levels (nodes), D: width, T: exits.
"""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from core_model.fitting import Fitting
from priors.speed import Speed
from reporters.attention import Attention
from reporters.reporter import units
from tests.training.made import schedule
from training.heads import Heads
from training.population import Examples, train

NODES, HOPS, HIDDEN = 6, 4, 32


def chase(n: int, seed: int) -> tuple[Examples, Tensor]:
    """Returns episodes of pointer chasing, and how many hops k each is about; the answer is the bit of the node k hops from the start.

    The nodes stand on a ring, so that every hop leads to a node not seen before. A level is a node, in an order of its own in each episode, and says:
    which node it is, which it points to and that one's bit, whether it is the start, and k.
    """
    chance = torch.Generator().manual_seed(seed)
    ring_NL, order_NL = (torch.rand(n, NODES, generator=chance).argsort(dim=1) for _ in range(2))
    points_NL = torch.empty_like(ring_NL).scatter_(1, ring_NL, ring_NL.roll(-1, dims=1))
    bit_NL = torch.randint(2, (n, NODES), generator=chance)
    start_N, k_N = torch.randint(NODES, (n,), generator=chance), torch.randint(1, HOPS + 1, (n,), generator=chance)
    at_N = start_N
    for hop in range(HOPS):
        at_N = torch.where(hop < k_N, points_NL.gather(1, at_N[:, None])[:, 0], at_N)
    next_NL = points_NL.gather(1, order_NL)
    told = [F.one_hot(order_NL, NODES), F.one_hot(next_NL, NODES), bit_NL.gather(1, next_NL)[..., None]]
    told += [(order_NL == start_N[:, None])[..., None], F.one_hot(k_N - 1, HOPS)[:, None].expand(-1, NODES, -1)]
    return Examples(torch.cat(told, dim=2).float(), bit_NL.gather(1, at_N[:, None])[:, 0].float()), k_N


def trained(fitting: Fitting, folder, seeds: tuple[int, ...], strengths: tuple[float, ...], **changed: float) -> Heads:
    """Returns heads under a speed prior to which a step of the head is one step, and whose gates on units begin too far open to make noise."""
    examples, held_out = chase(8192, seed=0)[0], chase(1000, seed=1)[0]
    head = Attention(NODES, examples.z_NLD.shape[2], HIDDEN, HOPS)
    first, second, *_ = head.flops(units(head, NODES))
    return train(
        make=lambda n_levels, width: Attention(n_levels, width, HIDDEN, HOPS),
        prior=Speed(log_alpha=6.0),
        examples=examples,
        held_out=held_out,
        levels=range(NODES),
        flops_L=torch.zeros(NODES, dtype=torch.float64),
        flops_step=second - first,
        seeds=seeds,
        strengths=strengths,
        schedule=schedule(batch_size=256, **changed),
        fitting=fitting,
        checkpoint=folder / "heads.ckpt",
    )


def by_hops(heads: Heads) -> tuple[Tensor, Tensor]:
    """Returns, of each head and each k, the share of episodes on which it is right and the mean number of steps it takes, each of shape (K, 4)."""
    examples, k_N = chase(2000, seed=2)
    said = heads.read(examples.z_NLD)
    right_KN = ((said.log_odds_KN > 0) == examples.human_N.bool()).double()
    of_k = [k_N == k for k in range(1, HOPS + 1)]
    mean = [torch.stack([value_KN[:, mask_N].mean(dim=1) for mask_N in of_k], dim=1) for value_KN in (right_KN, said.exit_KN + 1.0)]
    return mean[0], mean[1]


def made(steps: int, n_levels: int = 5, width: int = 12, seed: int = 0) -> Attention:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Attention(n_levels, width, hidden=16, steps=steps)


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_it_begins_with_an_even_chance_to_stop_at_each_step(steps):
    z_NLD = torch.randn(100, 5, 12, generator=torch.Generator().manual_seed(0))
    halt_T = torch.stack([made(steps, seed=seed)(z_NLD).halt_NT.mean(dim=0) for seed in range(50)]).mean(dim=0)
    torch.testing.assert_close(halt_T, torch.full((steps,), 1 / steps), rtol=0.1, atol=0)


def test_it_has_read_all_levels_at_every_exit():
    assert made(steps=3)(torch.randn(2, 5, 12)).levels_T.tolist() == [5, 5, 5]


def test_the_order_of_the_levels_does_not_matter():
    z_NLD = torch.randn(20, 5, 12, generator=torch.Generator().manual_seed(0))
    for one, other in zip(made(steps=3)(z_NLD), made(steps=3)(z_NLD.flip(1)), strict=True):
        torch.testing.assert_close(one, other)


def test_a_step_costs_the_same_whichever_it_is():
    head = made(steps=4)
    assert torch.tensor(head.flops(units(head, 5))).diff().unique().numel() == 1


def test_every_hop_leads_to_a_node_not_seen_before():
    examples, k_N = chase(500, seed=0)
    z_NLD, index_N = examples.z_NLD, torch.arange(500)
    at_N, seen = z_NLD[..., 2 * NODES + 1].argmax(dim=1), []
    for _ in range(HOPS):
        seen.append(z_NLD[index_N, at_N, 2 * NODES])
        next_N = z_NLD[index_N, at_N, NODES : 2 * NODES].argmax(dim=1)
        assert (next_N != z_NLD[..., 2 * NODES + 1].argmax(dim=1)).any()
        at_N = (z_NLD[..., :NODES].argmax(dim=2) == next_N[:, None]).int().argmax(dim=1)
    assert torch.equal(torch.stack(seen).gather(0, k_N[None] - 1)[0], examples.human_N)


EVEN_STEPS = {"ramp": 0.7, "bonus_from": 0.5, "bonus_to": 0.8}


@pytest.mark.slow
def test_under_a_speed_prior_it_takes_as_many_steps_as_there_are_hops(fitting, tmp_path):
    heads = trained(fitting, tmp_path, seeds=(0, 1, 2), strengths=(1 / 8,), epochs=60, **EVEN_STEPS)
    right_K4, steps_K4 = by_hops(heads)
    assert (right_K4.min(dim=1).values > 0.99).sum() >= 2  # a restart may fail
    best = heads.validation_nll_K.argmin()  # a restart may be right in other numbers of steps
    assert steps_K4[best].tolist() == pytest.approx([1, 2, 3, 4], abs=0.15)


@pytest.mark.slow
def test_without_a_price_it_takes_more_steps_than_it_needs(fitting, tmp_path):
    right_K4, steps_K4 = by_hops(trained(fitting, tmp_path, seeds=(0,), strengths=(0.0,), epochs=40, **EVEN_STEPS))
    assert right_K4.min() > 0.99
    assert steps_K4[0, 0] > 1.5 and steps_K4[0].sum() > 11


@pytest.mark.slow
def test_without_a_bonus_an_exit_that_was_left_is_not_found_again(fitting, tmp_path):
    _, steps_K4 = by_hops(trained(fitting, tmp_path, seeds=(0,), strengths=(1 / 8,), epochs=30, **EVEN_STEPS | {"halting_bonus": 0.0}))
    assert steps_K4[0, 0] > 1.5


@pytest.mark.slow
def test_at_too_high_a_price_it_stops_at_once_and_is_wrong(fitting, tmp_path):
    right_K4, steps_K4 = by_hops(trained(fitting, tmp_path, seeds=(0,), strengths=(4.0,), epochs=12, **EVEN_STEPS | {"halting_bonus": 0.0}))
    assert steps_K4[0].max() < 1.15
    assert right_K4[0].mean() < 0.9
