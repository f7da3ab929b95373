"""Parts keep clusters whole and lose no episode."""

from datasets import Dataset

from worlds.parts import parts


def episodes(clusters):
    return Dataset.from_dict({"cluster": clusters, "row": list(range(len(clusters)))})


def test_parts_of_single_episodes_have_the_sizes_asked_for_and_keep_their_order():
    assert [part["row"][:] for part in parts(episodes([5, 3, 9, 1, 7]), (2, 3))] == [
        [0, 1],
        [2, 3, 4],
    ]


def test_no_cluster_is_in_two_parts_and_none_is_lost():
    found = parts(episodes([1, 2, 1, 3, 2, 4, 4, 1]), (2, 3, 3))
    clusters = [set(part["cluster"][:]) for part in found]
    assert clusters == [{1}, {2}, {3, 4}]
    assert sorted(row for part in found for row in part["row"][:]) == list(range(8))
