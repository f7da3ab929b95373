"""The easy episodes of a run: in parts that share no group."""

from types import SimpleNamespace

import pandas as pd
import pytest

from configs.build import build
from configs.plan import Sizes
from console.errors import UserError
from tests.conftest import node
from training.material import draw_easy

SIZES = Sizes(train=40, validation=8, test=8, disputed=2, twins=2, probe=4)
PLAN = SimpleNamespace(sizes=SIZES, seed=3)


def build_world(folder, n_groups: int):
    """Returns a world of 60 rows in groups of equal size."""
    table = pd.DataFrame({"text": [f"w{i}" for i in range(60)]})
    table["label"] = table.index % 2
    table["group"] = table.index % n_groups
    table.to_csv(folder / "rows.csv", index=False)
    files = {"files": str(folder / "rows.csv"), "group": "group"}
    return build(node("world/table.yaml", **files), "world")


def test_no_group_is_in_two_parts(tmp_path):
    parts = draw_easy(build_world(tmp_path, n_groups=20), PLAN)
    groups = [set(part["cluster"][:]) for part in parts]
    assert all(groups) and sum(map(len, groups)) == len(set.union(*groups)) == 20


def test_groups_that_are_too_large_for_all_parts_are_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"^world: its groups are too large to give some to each of"
    ):
        draw_easy(build_world(tmp_path, n_groups=3), PLAN)
