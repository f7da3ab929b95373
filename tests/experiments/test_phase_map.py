"""The experiment phase_map: mistakes are refused before anything runs, and its smallest size shows
what theory and planted costs predict.
"""

import pandas as pd
import pytest

from console.errors import UserError
from experiments.phase_map import PhaseMap
from tests.running import train


@pytest.mark.parametrize(
    ("size", "planes", "message"),
    [
        ("tny", ["widths"], r"job\.size: job\.planes has no tny\. Did you mean tiny\?"),
        ("tiny", ["width"], r"job\.planes\.tiny: there is no sweep width\. Did you mean widths"),
        ("tiny", [], r"job\.planes\.tiny: it is empty"),
    ],
)
def test_mistakes_are_refused_with_the_cure(size, planes, message):
    with pytest.raises(UserError, match=message):
        PhaseMap(size, "basic", planes={"tiny": planes}, words={"tiny": []})


@pytest.mark.slow
def test_the_smallest_map_shows_what_is_predicted(tmp_path):
    words = ["experiment=phase_map", "job.size=tiny", "trainer.bar=false"]
    done = train(*words, folder=tmp_path / "map")
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(tmp_path / "map" / "map.parquet")
    assert len(table) == 8 and set(table["predictors"]) == {2}
    clear = table[table["is_clear"]]
    assert len(clear) == 4 and set(clear["arm"]) == {"simplicity"} and clear["holds"].all()
    by_theory = table[(table["arm"] != "simplicity") & (table["predicted"] != "tie")]
    assert by_theory["holds"].all() and len(by_theory) == 2
    assert (tmp_path / "map" / "map.html").stat().st_size > 10_000
