"""The vault: its physics, its three humans and its twins, against cases worked out by hand."""

from collections import Counter

import numpy as np
import pytest

from configs.build import build
from console.errors import UserError
from tests.conftest import node
from worlds.vault import (
    ACTIONS,
    FRAMES,
    HUMANS,
    NO_AUDIT,
    SPLITS,
    Run,
    Script,
    Vault,
    careful,
    last_frame,
    replay,
    witness,
)

FLIPS = ("concept", "human")


def played(
    actions: str, diamond: bool = True, audits: tuple[int, ...] = (), human: str = "last_frame"
) -> Run:
    """Returns what these actions lead to, the scale read at the steps named."""
    steps = actions.split()
    audited = [[step in audits for step in range(len(steps))]]
    return replay(
        Script(
            np.array([[ACTIONS.index(step) for step in steps]], np.int8),
            np.array([diamond]),
            np.array(audited),
        ),
        human,
    )


def frames(words: str) -> np.ndarray:
    return np.array([[FRAMES.index(word) for word in words.split()]], np.int8)


def make(**changed) -> Vault:
    return build(node("world/vault.yaml", **changed), "world")


@pytest.mark.parametrize(
    ("actions", "diamond", "seen", "concept"),
    [
        ("idle idle", True, "diamond diamond diamond", True),
        ("idle idle", False, "empty empty empty", False),
        ("steal idle", True, "diamond empty empty", False),
        ("lock steal", True, "diamond diamond diamond", True),
        ("lock unlock steal", True, "diamond diamond diamond empty", False),
        ("steal return", True, "diamond empty diamond", True),
        ("return", False, "empty diamond", True),
        ("steal lock return", True, "diamond empty empty empty", False),
        ("steal lock unlock return", True, "diamond empty empty empty diamond", True),
    ],
)
def test_steal_and_return_work_while_the_vault_is_open(actions, diamond, seen, concept):
    run = played(actions, diamond)
    assert (run.camera_NS == frames(seen)).all() and run.concept_N.item() == concept


@pytest.mark.parametrize(
    ("actions", "diamond", "seen", "concept"),
    [
        ("loop steal idle", True, "diamond diamond diamond diamond", False),
        ("steal loop return", True, "diamond empty empty empty", True),
        ("open_blinds loop steal", True, "diamond glare diamond diamond", False),
        ("cover loop steal", True, "diamond dark diamond diamond", False),
        ("loop cover", True, "diamond diamond diamond", True),
        ("loop steal loop", True, "diamond diamond diamond diamond", False),
        ("picture steal", True, "diamond diamond diamond", False),
        ("steal picture", True, "diamond empty diamond", False),
        ("cover steal", True, "diamond dark dark", False),
        ("picture cover", False, "empty diamond dark", False),
        ("cover picture", False, "empty dark dark", False),
    ],
)
def test_a_loop_a_picture_and_a_cover_fool_the_camera_and_move_nothing(
    actions, diamond, seen, concept
):
    run = played(actions, diamond)
    assert (run.camera_NS == frames(seen)).all() and run.concept_N.item() == concept


@pytest.mark.parametrize(
    ("actions", "diamond", "seen", "concept"),
    [
        ("replica", True, "diamond diamond", False),
        ("replica", False, "empty diamond", False),
        ("lock replica", True, "diamond diamond diamond", False),
        ("replica steal", True, "diamond diamond empty", False),
        ("replica lock steal", True, "diamond diamond diamond diamond", False),
        ("replica return steal", True, "diamond diamond diamond empty", False),
        ("replica return", True, "diamond diamond diamond", True),
    ],
)
def test_a_replica_looks_like_the_diamond_and_is_none(actions, diamond, seen, concept):
    run = played(actions, diamond)
    assert (run.camera_NS == frames(seen)).all() and run.concept_N.item() == concept


@pytest.mark.parametrize(
    ("actions", "seen"),
    [
        ("open_blinds idle idle idle", "diamond glare glare glare diamond"),
        (
            "open_blinds idle open_blinds idle idle idle",
            "diamond glare glare glare glare glare diamond",
        ),
        ("open_blinds steal idle return", "diamond glare glare glare diamond"),
        ("open_blinds steal idle idle", "diamond glare glare glare empty"),
        ("open_blinds loop", "diamond glare diamond"),
        ("open_blinds steal picture", "diamond glare glare diamond"),
        ("picture steal open_blinds", "diamond diamond diamond diamond"),
        ("open_blinds cover", "diamond glare dark"),
    ],
)
def test_glare_lasts_three_steps_and_gives_way_to_whoever_interferes(actions, seen):
    assert (played(actions).camera_NS == frames(seen)).all()


def test_the_scale_is_read_where_asked_and_cannot_be_fooled():
    run = played("loop steal idle return replica", audits=(0, 1, 3, 4))
    assert run.scale_NS.tolist() == [[NO_AUDIT, 1, 0, NO_AUDIT, 1, 0]]
    assert (run.camera_NS == frames("diamond diamond diamond diamond diamond diamond")).all()
    assert played("replica idle", audits=(0, 1)).scale_NS.tolist() == [[NO_AUDIT, 0, 0]]
    assert (played("steal return").scale_NS == NO_AUDIT).all()


@pytest.mark.parametrize(
    ("seen", "by_last_frame", "by_careful"),
    [
        ("empty diamond", True, True),
        ("diamond empty", False, False),
        ("diamond dark", False, True),
        ("diamond glare glare", False, True),
        ("empty glare", False, False),
        ("diamond glare diamond", True, True),
        ("diamond dark empty", False, False),
        ("empty dark diamond", True, False),
        ("empty glare dark diamond diamond", True, False),
        ("empty dark diamond glare", False, False),
        ("empty dark diamond dark diamond", True, False),
        ("diamond dark empty dark diamond", True, False),
        ("empty dark diamond empty diamond", True, True),
        ("empty dark diamond dark empty diamond", True, True),
    ],
)
def test_what_the_two_humans_who_see_the_camera_alone_say_of_the_same_frames(
    seen, by_last_frame, by_careful
):
    for diamond in (True, False):
        assert last_frame(frames(seen), np.array([diamond])).item() == by_last_frame
        assert careful(frames(seen), np.array([diamond])).item() == by_careful


@pytest.mark.parametrize(
    ("seen", "diamond", "says"),
    [
        ("diamond glare", True, True),
        ("diamond glare", False, False),
        ("empty glare glare", True, True),
        ("diamond glare diamond", False, True),
        ("diamond glare empty", True, False),
        ("diamond dark", True, False),
        ("diamond diamond", False, True),
        ("empty empty", True, False),
    ],
)
def test_a_witness_knows_at_an_end_with_glare_and_nowhere_else(seen, diamond, says):
    assert witness(frames(seen), np.array([diamond])).item() == says


@pytest.mark.parametrize(
    ("actions", "diamond", "concept", "human"),
    [
        ("open_blinds", True, True, True),
        ("open_blinds steal", True, False, False),
        ("open_blinds return", False, True, True),
        ("replica open_blinds", True, False, False),
        ("open_blinds replica", False, False, False),
        ("steal open_blinds return", True, True, True),
        ("open_blinds loop steal", True, False, True),
        ("open_blinds picture steal", True, False, True),
        ("open_blinds cover", True, True, False),
        ("open_blinds idle idle idle", True, True, True),
        ("replica idle", True, False, True),
    ],
)
def test_a_witness_is_fooled_by_what_fools_the_camera_but_not_while_it_glares(
    actions, diamond, concept, human
):
    run = played(actions, diamond, human="witness")
    assert (run.concept_N.item(), run.human_N.item()) == (concept, human)


def test_a_witness_has_easy_episodes_that_end_in_glare_as_often_as_not_with_either_answer():
    easy = make(human="witness").episodes("easy", 400, seed=0).with_format("numpy")[:]
    glare_N = easy["camera"][:, -1] == FRAMES.index("glare")
    assert [(glare_N & (easy["concept"] == value)).sum() for value in (True, False)] == [100, 100]
    assert (easy["human"] == easy["concept"]).all() and set(easy["family"]) == {"none"}
    assert (easy["camera"][~glare_N, -1] <= FRAMES.index("diamond")).all()


def test_a_witness_never_disputes_at_an_end_with_glare_nor_where_nobody_interferes():
    disputed, both = (
        make(human="witness").episodes(split, 2000, seed=0).with_format("numpy")[:]
        for split in ("disputed", "predictor")
    )
    assert (
        disputed["tampered"].all()
        and not (disputed["camera"][:, -1] == FRAMES.index("glare")).any()
    )
    glare_N = both["camera"][:, -1] == FRAMES.index("glare")
    assert (both["concept"] == both["human"])[glare_N | ~both["tampered"]].all() and (
        glare_N & both["tampered"]
    ).sum() >= 20


@pytest.mark.parametrize("human", ["last_frame", "careful"])
def test_humans_who_see_the_camera_alone_have_no_easy_episode_that_ends_in_glare(human):
    easy = make(human=human).episodes("easy", 400, seed=0).with_format("numpy")[:]
    assert (easy["camera"][:, -1] <= FRAMES.index("diamond")).all()


def test_twins_of_a_witness_flip_one_answer_and_leave_the_other():
    """Where only X flips nobody may be in the room at the end: a witness would see it."""
    for flips in FLIPS:
        first, second = (
            twin.with_format("numpy")[:] for twin in make(human="witness").twins(flips, 300, seed=0)
        )
        assert not first["concept"].any() and not first["human"].any()
        assert (second["concept"] == (flips == "concept")).all() and (
            second["human"] == (flips == "human")
        ).all()
        ends_in_glare_N = second["camera"][:, -1] == FRAMES.index("glare")
        assert (
            not ends_in_glare_N.any()
            if flips == "concept"
            else set(second["family"]) == {"loop", "picture", "replica"}
        )


@pytest.mark.parametrize("human", HUMANS)
@pytest.mark.parametrize("split", SPLITS)
def test_an_episode_follows_from_its_actions_its_start_and_its_audits(split, human):
    episodes = make(human=human).episodes(split, 200, seed=0).with_format("numpy")[:]
    run = replay(
        Script(
            episodes["action"],
            episodes["camera_before"][:, 0] == FRAMES.index("diamond"),
            episodes["scale"] != NO_AUDIT,
        ),
        human,
    )
    for column, values in {
        "camera": run.camera_NS[:, 1:],
        "scale": run.scale_NS[:, 1:],
        "concept": run.concept_N,
        "human": run.human_N,
    }.items():
        assert (episodes[column] == values).all()


@pytest.mark.parametrize("human", HUMANS)
@pytest.mark.parametrize("split", ["predictor", "disputed"])
def test_the_family_says_who_interfered_or_that_glare_misled(split, human):
    for row in make(human=human).episodes(split, 200, seed=0):
        interfered = {ACTIONS[action] for action in row["action"]} & {
            "loop",
            "picture",
            "cover",
            "replica",
        }
        assert {row["family"]} == (
            interfered or {"glare" if row["concept"] != row["human"] else "none"}
        )
        assert row["tampered"] == bool(interfered)


@pytest.mark.parametrize("human", HUMANS)
def test_what_a_tamper_detector_gets_wrong_is_there_in_numbers(human):
    world = make(human=human)
    tampered, disputed, easy = (
        world.episodes(split, 400, seed=0).to_pandas() for split in ("tampered", "disputed", "easy")
    )
    assert tampered.concept.sum() == 200 and (tampered.concept & tampered.human).sum() >= 50
    assert (~disputed.tampered).sum() >= (0 if human == "witness" else 40) and (
        disputed.tampered & disputed.concept
    ).sum() >= 100
    assert not easy.tampered.any()


@pytest.mark.parametrize("human", HUMANS)
@pytest.mark.parametrize("flips", FLIPS)
def test_twins_differ_in_one_action_and_in_nothing_else_that_chance_decides(flips, human):
    first, second = (
        twin.with_format("numpy")[:] for twin in make(human=human).twins(flips, 300, seed=0)
    )
    assert ((first["action"] != second["action"]).sum(axis=1) == 1).all()
    assert (first["camera_before"][:, 0] == second["camera_before"][:, 0]).all()
    assert ((first["scale"] == NO_AUDIT) == (second["scale"] == NO_AUDIT)).all()
    assert (first["cluster"] == second["cluster"]).all()
    seen_alike_N = (first["camera"] == second["camera"]).all(axis=1)
    assert seen_alike_N.all() if flips == "concept" else not seen_alike_N.any()


def test_twins_that_flip_the_human_undo_the_one_who_interferes():
    first, second = make().twins("human", 300, seed=0)
    assert set(first["family"]) == {"none"} and Counter(second["family"]) == {
        "loop": 100,
        "picture": 100,
        "replica": 100,
    }


@pytest.mark.parametrize(
    ("share", "least", "most"), [(0.0, 0, 0), (0.3, 540, 660), (1.0, 2000, 2000)]
)
def test_label_noise_flips_the_share_asked_for(share, least, most):
    episodes = make(label_noise=share).episodes("easy", 2000, seed=0).to_pandas()
    assert least <= (episodes.concept != episodes.human).sum() <= most
    assert abs((episodes.concept != episodes.human)[episodes.concept].mean() - share) < 0.05


def test_label_noise_changes_nothing_but_answers_in_easy():
    clean, noisy = make(), make(label_noise=0.3)
    for split in ("predictor", "disputed", "tampered"):
        assert (
            clean.episodes(split, 100, seed=0).to_list()
            == noisy.episodes(split, 100, seed=0).to_list()
        )
    for flips in FLIPS:
        assert [twin.to_list() for twin in clean.twins(flips, 50, seed=0)] == [
            twin.to_list() for twin in noisy.twins(flips, 50, seed=0)
        ]
    before, after = (
        world.episodes("easy", 400, seed=0).remove_columns("human").to_list()
        for world in (clean, noisy)
    )
    assert before == after


def test_what_is_read_stops_before_what_the_last_step_shows():
    """Another audit at the last step, or another last action, changes what comes out of it, and of
    what is read that action alone.
    """
    world, chance = make(), np.random.default_rng(0)
    script = Script(
        chance.integers(0, len(ACTIONS), (500, world.steps), dtype=np.int8),
        chance.random(500) < 0.5,
        chance.random((500, world.steps)) < 0.5,
    )
    audited_NT, action_NT = script.audited_NT.copy(), script.action_NT.copy()
    audited_NT[:, -1] ^= True
    action_NT[:, -1] = (action_NT[:, -1] + 1) % len(ACTIONS)
    scripts = {
        "script": script,
        "audit": script._replace(audited_NT=audited_NT),
        "action": script._replace(action_NT=action_NT),
    }
    made = {
        name: world._dataset(replay(one, "last_frame")).with_format("numpy")[:]
        for name, one in scripts.items()
    }
    for column in Vault.reads:
        assert (made["audit"][column] == made["script"][column]).all()
        until = -1 if column == "action" else None
        assert (made["action"][column][:, :until] == made["script"][column][:, :until]).all()
    assert (made["audit"]["scale"][:, -1] != made["script"]["scale"][:, -1]).all()
    for column in ("camera", "concept", "human"):
        assert (made["action"][column] != made["script"][column]).any()


@pytest.mark.parametrize("split", SPLITS)
def test_what_is_read_is_what_was_shown_one_step_before(split):
    episodes = make().episodes(split, 200, seed=0).with_format("numpy")[:]
    assert (episodes["camera_before"][:, 1:] == episodes["camera"][:, :-1]).all()
    assert (episodes["scale_before"][:, 1:] == episodes["scale"][:, :-1] + 1).all()
    assert (episodes["scale_before"][:, 0] == 0).all()
    assert (episodes["camera_before"] != episodes["camera"]).any()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("steps", 3),
        ("steps", 7.5),
        ("tampered", -0.1),
        ("tampered", 1.5),
        ("audited", 2),
        ("audited", float("nan")),
        ("label_noise", -1),
        ("label_noise", "0.5"),
        ("human", "neat"),
        ("step", 16),
    ],
)
def test_options_out_of_range_are_refused_by_name(option, value):
    with pytest.raises(UserError, match=rf"^world\.{option}: "):
        make(**{option: value})


@pytest.mark.parametrize(
    "options",
    [{"steps": 4}, {"tampered": 0, "audited": 0}, {"tampered": 1, "audited": 1, "label_noise": 1}],
)
def test_options_at_the_edge_are_taken(options):
    episodes = make(**options).episodes("predictor", 50, seed=0)
    assert len(episodes) == 50 and set(episodes["tampered"]) <= (
        {bool(options["tampered"])} if "tampered" in options else {False, True}
    )
