"""What runs must share to be compared."""

import pytest

from report.folder import NOT_DECIDING, matters
from report.settings import setting_of


@pytest.mark.parametrize("key", NOT_DECIDING)
def test_runs_that_differ_in_what_changes_no_result_are_one_setting(key):
    """A sweep gone on with another logger is one sweep."""
    shared = {"world": {"steps": 8}, "core_model": {"seed": 0}}
    one, other = shared | {key: {"bar": True}}, shared | {key: {"bar": False}}
    assert setting_of(one) == setting_of(other)
    assert matters(one) == matters(other)
    assert setting_of(shared | {"verdict": {"direct": 0.8}}) != setting_of(shared | {"verdict": {"direct": 0.9}})
