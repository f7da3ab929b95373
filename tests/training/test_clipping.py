"""Heads that step at once know nothing of each other: not of the norms of their gradients."""

import torch

from training.clipping import clip_gradients


def test_every_heads_gradient_is_clipped_by_its_own_norm():
    gradients = [
        torch.tensor([[4.0, 0.0], [0.1, 0.0], [torch.nan, 0.0]]),
        torch.tensor([[4.0], [0.2], [1.0]]),
        torch.tensor([[0.0, 7.0], [0.0, 0.3], [0.0, 1.0]]),
    ]  # norms of three strengths: √(16 + 16 + 49) = 9; √0.14; none
    clipped, norm_GSM = clip_gradients([one[None, None] for one in gradients], 1.0)
    torch.testing.assert_close(
        norm_GSM[0, 0], torch.tensor([9.0, 0.14**0.5, torch.nan]), equal_nan=True
    )
    for now, before in zip(clipped, gradients, strict=True):
        torch.testing.assert_close(now[0, 0, 0], before[0] / 9)
        assert torch.equal(now[0, 0, 1], before[1])
        assert now[0, 0, 2].isnan().all()


def test_no_gradient_at_all_is_left_at_zero():
    clipped, norm_GSM = clip_gradients([torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3)], 1.0)
    assert all((value == 0).all() for value in (*clipped, norm_GSM))
