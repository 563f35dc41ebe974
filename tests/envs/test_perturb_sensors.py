"""The axes that leave the task as it is: where the arm begins, what the room looks like, bad cameras, other words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.perturb.axis import CannotVary
from vst_vla.envs.perturb.language import paraphrase
from vst_vla.envs.perturb.noise import FAULTS, spoil
from vst_vla.envs.perturb.perturbation import Perturbation
from vst_vla.envs.perturb.solids import read_solids
from vst_vla.envs.suites import get_task, num_tasks
from vst_vla.vla.contracts import IMAGE_KEY, STATE_KEY, STILL_ACTION, WRIST_IMAGE_KEY, Array

SIZE = 64
OFFICIAL = "pick up the alphabet soup and place it in the basket"
PICTURE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def env() -> Iterator[LiberoEnv]:
    env = LiberoEnv("libero_object", task_id=0, image_size=SIZE)
    yield env
    env.close()


def reset(env: LiberoEnv, *axes: str, seed: int = 1, strength: float = 1.0) -> tuple[dict[str, Array], dict[str, Any]]:
    perturb = Perturbation(axes=axes, seed=(seed,), strength=strength) if axes else None
    return env.reset(options={"init_state": 3, "perturb": perturb})


def change(before: Array, after: Array) -> float:
    return float(np.abs(before.astype(float) - after.astype(float)).mean())


def objects(env: LiberoEnv) -> dict[str, Array]:
    data = env.simulator.sim.data._data
    return {solid.name: data.xpos[solid.root].copy() for solid in read_solids(env.simulator)}


@pytest.mark.sim
def test_the_arm_begins_elsewhere_and_the_observation_says_so(env: LiberoEnv) -> None:
    official, _ = reset(env)
    before, ways = objects(env), []
    for strength in (0.25, 1.0):
        for seed in range(3):
            observation, info = reset(env, "robot", seed=seed, strength=strength)
            told = info["perturbation"]["robot"]
            assert max(map(abs, told["turn_rad"])) <= 0.2 * strength
            moved = observation[STATE_KEY][:3] - official[STATE_KEY][:3]
            np.testing.assert_allclose(moved, told["hand_m"], atol=1e-3)
            ways.append(float(np.linalg.norm(moved)))
            assert all(np.allclose(place, before[name], atol=1e-4) for name, place in objects(env).items())
    assert max(ways[:3]) < 0.1
    assert 0.03 < max(ways[3:]) < 0.4
    assert np.array_equal(reset(env)[0][STATE_KEY], official[STATE_KEY])


@pytest.mark.sim
def test_the_arm_stays_where_it_begins(env: LiberoEnv) -> None:
    """Its controller must not pull it back to the official pose."""
    observation, _ = reset(env, "robot", seed=2)
    later = env.step_chunk(np.tile(np.array(STILL_ACTION), (20, 1)))[0]
    assert np.linalg.norm(later[STATE_KEY][:3] - observation[STATE_KEY][:3]) < 0.02


@pytest.mark.sim
def test_the_room_changes_and_nothing_in_it(env: LiberoEnv) -> None:
    official, _ = reset(env)
    state, goal = env.simulator.get_state(), env.simulator.goal
    changes = {}
    for strength in (0.2, 1.0):
        observation, info = reset(env, "background", strength=strength)
        changes[strength] = change(official[IMAGE_KEY], observation[IMAGE_KEY])
        assert np.array_equal(env.simulator.get_state(), state)
        assert info["perturbation"]["background"]["surfaces"]
    assert 0 < changes[0.2] < changes[1.0]
    assert changes[1.0] > 5
    again, _ = reset(env)
    assert np.array_equal(again[IMAGE_KEY], official[IMAGE_KEY])
    assert env.simulator.goal == goal
    fresh = LiberoEnv("libero_object", task_id=0, image_size=SIZE)
    assert np.array_equal(reset(fresh, "background")[0][IMAGE_KEY], observation[IMAGE_KEY]), "before the first picture"
    fresh.close()


@pytest.mark.sim
def test_bad_cameras_spoil_what_the_policy_sees_and_no_video(env: LiberoEnv) -> None:
    official, _ = reset(env)
    film = env.render()
    spoilt, info = reset(env, "noise")
    assert info["perturbation"]["noise"]["fault"] in FAULTS
    for key in (IMAGE_KEY, WRIST_IMAGE_KEY):
        assert change(official[key], spoilt[key]) > 1
    assert np.array_equal(env.render(), film)
    assert np.array_equal(reset(env, "noise")[0][IMAGE_KEY], spoilt[IMAGE_KEY])
    assert np.array_equal(reset(env)[0][IMAGE_KEY], official[IMAGE_KEY])


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_grows_with_its_strength_and_repeats_itself(fault: str) -> None:
    smooth = (
        np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[:, None, None], SIZE, axis=1).repeat(3, axis=2) + PICTURE // 8
    )
    weak, strong = (spoil(smooth, fault=fault, strength=strength, seed=4) for strength in (0.4, 1.0))
    assert strong.shape == smooth.shape
    assert strong.dtype == np.uint8
    assert 0 < change(smooth, weak) < change(smooth, strong)
    assert np.array_equal(spoil(smooth, fault=fault, strength=1.0, seed=4), strong)
    if fault == "grain":
        assert not np.array_equal(spoil(smooth, fault=fault, strength=1.0, seed=5), strong)


@pytest.mark.sim
def test_other_words_reach_the_policy_and_not_the_goal(env: LiberoEnv) -> None:
    reset(env)
    goal = env.simulator.goal
    _, info = reset(env, "language")
    assert info["task"] == info["perturbation"]["language"]["task"] != OFFICIAL
    assert info["perturbation"]["language"]["from"] == OFFICIAL
    assert env.simulator.goal == goal
    _, both = reset(env, "goal", "language")
    told = both["perturbation"]
    assert told["language"]["from"] == told["goal"]["task"]
    assert env.simulator.goal == told["goal"]["goal"]
    assert reset(env)[1]["task"] == OFFICIAL


@pytest.mark.parametrize("strength", [0.3, 0.6, 1.0])
@pytest.mark.parametrize("suite", ["libero_spatial", "libero_object", "libero_goal", "libero_10", "libero_90"])
def test_every_instruction_has_other_words_with_its_own_nouns(suite: str, strength: float) -> None:
    for task_id in range(num_tasks(suite)):
        official = get_task(suite, task_id=task_id).language
        for seed in range(3):
            said = paraphrase(official, strength=strength, rng=np.random.default_rng(seed))
            assert said != official
            assert (official in said) is (strength < 0.4)
            verbs = {"pick", "up", "place", "put", "open", "close", "turn", "push", "stack", "it", "both", "and", "the"}
            for noun in set(official.split()) - verbs - {"on", "off"}:
                assert noun in said, (official, said)


def test_a_sentence_without_a_known_verb_is_told() -> None:
    with pytest.raises(CannotVary, match="no other words are known for 'dance'"):
        paraphrase("dance", strength=1.0, rng=np.random.default_rng(0))
