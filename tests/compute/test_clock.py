"""A clock measures the parts of a run one after the other."""

from compute.clock import Clock


def test_parts_begin_where_the_part_before_ended(monkeypatch):
    times = iter([10.0, 12.5, 13.0])
    monkeypatch.setattr("compute.clock.time.perf_counter", lambda: next(times))
    clock = Clock()
    clock.lap("preparing")
    clock.lap("training")
    assert clock.laps == {"preparing": 2.5, "training": 0.5}
