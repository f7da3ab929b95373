"""Parts keep clusters whole and lose no episode."""

from datasets import Dataset

from worlds.parts import split_by_cluster


def make_episodes(clusters: list[int]) -> Dataset:
    return Dataset.from_dict({"cluster": clusters, "row": list(range(len(clusters)))})


def test_parts_of_single_episodes_have_the_exact_sizes_and_keep_their_order():
    first, second = split_by_cluster(make_episodes([5, 3, 9, 1, 7]), (2, 3))
    assert (first["row"][:], second["row"][:]) == ([0, 1], [2, 3, 4])


def test_no_cluster_is_in_two_parts_and_no_episode_is_lost():
    split = split_by_cluster(make_episodes([1, 2, 1, 3, 2, 4, 4, 1]), (2, 3, 3))
    assert [set(part["cluster"][:]) for part in split] == [{1}, {2}, {3, 4}]
    rows = [row for part in split for row in part["row"][:]]
    assert sorted(rows) == list(range(8))
