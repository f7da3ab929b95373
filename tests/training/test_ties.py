"""Ties: planted totals whose ties are known, and cells that have none."""

import torch

from training.ties import find_ties

LOW, HIGH = 0.2, 0.9


def test_heads_within_a_nat_of_the_best_of_their_cell_are_tied():
    """Two levels: three of four heads are tied at the first, one at the second."""
    total_GSM = torch.tensor([[10.0, 10.9, 11.0, 11.1], [3.0, 4.1, 9.0, 5.0]]).unsqueeze(2)
    follows_GSM = torch.tensor([[LOW, 0.5, HIGH, 1.0], [0.4, 0.0, 1.0, 0.6]]).unsqueeze(2)
    ties = find_ties(total_GSM, follows_GSM)
    assert ties.tied_GSM[:, :, 0].tolist() == [[3] * 4, [1] * 4]
    torch.testing.assert_close(ties.low_GSM[:, 0, 0], torch.tensor([LOW, 0.4]))
    torch.testing.assert_close(ties.high_GSM[:, 0, 0], torch.tensor([HIGH, 0.4]))


def test_strengths_are_cells_of_their_own():
    total_GSM = torch.tensor([[[5.0, 50.0], [5.5, 60.0]]])
    ties = find_ties(total_GSM, torch.tensor([[[LOW, LOW], [HIGH, HIGH]]]))
    assert ties.tied_GSM.tolist() == [[[2, 1], [2, 1]]]
    torch.testing.assert_close(ties.high_GSM[0, 0], torch.tensor([HIGH, LOW]))


def test_heads_without_a_total_are_tied_with_none():
    total_GSM = torch.tensor([[[torch.nan, torch.nan], [torch.nan, 7.0]]])
    ties = find_ties(total_GSM, torch.tensor([[[LOW, LOW], [HIGH, HIGH]]]))
    assert ties.tied_GSM[0, 0].tolist() == [0, 1]
    assert ties.low_GSM[0, 0].isnan().tolist() == [True, False]
    assert ties.high_GSM[0, 0, 1] == torch.tensor(HIGH)
