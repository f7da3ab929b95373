"""Planes from finished runs: the dials that differ are the axes, and a folder without any, or with
too many, is refused.
"""

import pytest
import yaml

from console.errors import UserError
from report.phase_map.__main__ import main
from report.phase_map.planes import NO_AXIS, read_plane, read_planes, sort_values
from report.phase_map.write import write_map
from storage.run_folder import CONFIG, HEADS, write_hashes
from tests.conftest import node
from tests.report.planted_sweeps import heads, write


def plant(folder, **dials: float):
    """Writes a run whose world has these dials."""
    name = "-".join(f"{key}{value}" for key, value in dials.items())
    return write(folder / name, heads("simplicity", follows=0.95), world=dials)


def test_two_dials_that_differ_are_the_axes_the_one_of_fewer_values_first(tmp_path):
    for noise in (0.0, 0.1):
        for steps in (4, 8, 16):
            plant(tmp_path / "plane", label_noise=noise, steps=steps)
    plane = read_plane(tmp_path / "plane")
    assert plane.axes == ("world.label_noise", "world.steps")
    assert plane.values == (("0.0", "0.1"), ("4", "8", "16"))
    assert len(plane.cells) == 6 and plane.arms == ("simplicity",)
    assert "6 runs" in write_map(tmp_path)
    assert (tmp_path / "map.html").exists() and (tmp_path / "plane.svg").exists()


def test_how_heads_meet_errors_is_an_arm_and_no_axis(tmp_path):
    for share in (0.0, 0.1):
        for errors in ("from_start", "after_settling"):
            run = write(
                tmp_path / "plane" / f"{errors}-{share}",
                heads("simplicity", follows=0.95),
                world={"human_errors": share},
            )
            config = yaml.safe_load((run / CONFIG).read_text())
            config["training"] = node("training/default.yaml", errors=errors)
            config["optimizer"] = node("optimizer/auto.yaml")
            (run / CONFIG).write_text(yaml.safe_dump(config))
            write_hashes(run, run / HEADS)
    plane = read_plane(tmp_path / "plane")
    assert plane.axes == (NO_AXIS, "world.human_errors")
    assert plane.arms == ("simplicity", "simplicity (errors after_settling)")
    assert len(plane.cells) == 4


def set_keys(run, **keys) -> None:
    """Changes keys of a written run's config."""
    config = yaml.safe_load((run / CONFIG).read_text())
    (run / CONFIG).write_text(yaml.safe_dump(config | keys))
    write_hashes(run, run / HEADS)


def test_levels_are_a_dial_and_strengths_are_of_the_arm(tmp_path):
    for level in (3, 4):
        for strength in (0.125, 1.0):
            run = write(tmp_path / "plane" / f"{level}-{strength}", heads("speed", follows=0.95))
            set_keys(run, levels=[level], strengths=[strength])
    plane = read_plane(tmp_path / "plane")
    assert plane.axes == (NO_AXIS, "levels") and plane.values[1] == ("3", "4")
    assert plane.arms == ("speed (strength 0.125)", "speed (strength 1)")
    assert len(plane.cells) == 4


def test_strengths_that_all_runs_share_are_not_named(tmp_path):
    for steps in (4, 8):
        plant(tmp_path / "plane", steps=steps)
    assert read_plane(tmp_path / "plane").arms == ("simplicity",)


def test_one_dial_makes_a_plane_of_one_row(tmp_path):
    for steps in (4, 8):
        plant(tmp_path / "plane", steps=steps)
    plane = read_plane(tmp_path / "plane")
    assert plane.axes == (NO_AXIS, "world.steps") and plane.values[0] == ("",)


def test_a_plane_of_one_cell_is_refused(tmp_path):
    plant(tmp_path / "plane", steps=4)
    with pytest.raises(UserError, match="plane of one cell"):
        read_planes(tmp_path)


def test_three_dials_are_refused_by_their_names(tmp_path):
    for steps, noise, share in ((4, 0.0, 0.1), (8, 0.1, 0.2)):
        plant(tmp_path / "plane", steps=steps, label_noise=noise, tampered=share)
    with pytest.raises(UserError, match=r"3 dials differ .*world\.label_noise, .*world\.tampered"):
        read_planes(tmp_path)


def test_a_folder_without_runs_is_refused_with_a_command(tmp_path):
    with pytest.raises(UserError, match=r"python train.py \+sweep=width_amplitude"):
        read_planes(tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        read_planes(tmp_path / "nowhere")
    with pytest.raises(UserError, match="Name one folder"):
        main([])


def test_values_are_in_the_order_of_numbers():
    assert sort_values(["16", "2", "1.5"]) == ("1.5", "2", "16")
