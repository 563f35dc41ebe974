"""Placeholders stand where LIBERO's objects stand: same names, frames, masses, resting heights."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from vst_vla.envs.assets import Assets, assets_in
from vst_vla.envs.placeholders import write_placeholders
from vst_vla.envs.placeholders.mjcf import TO_FRAME, quaternion, thing_mjcf
from vst_vla.envs.placeholders.shapes import Part, Thing
from vst_vla.envs.placeholders.table import PRODUCTS, THINGS
from vst_vla.envs.placeholders.textures import texture_files
from vst_vla.envs.simulator import Simulator
from vst_vla.envs.suites import SETTLE_STEPS, get_task, init_state, init_states, num_tasks
from vst_vla.vla.contracts import STILL_ACTION, Array

SUITE = "libero_object"
SHARED_ASSETS = Path(__file__).resolve().parents[3] / "shared" / "libero_assets"
GRIPPER_OPENING_M = 0.078
STILL = np.asarray(STILL_ACTION)


@pytest.fixture(scope="module")
def placeholders() -> Assets:
    return Assets(write_placeholders(), "placeholder")


def geoms(thing: Thing, *, group: str) -> list[ET.Element]:
    return [g for g in ET.fromstring(thing_mjcf(thing)).iter("geom") if g.get("group") == group]


def extent(parts: tuple[Part, ...]) -> tuple[Array, Array]:
    """Lowest and highest corner (3,) of the upright box around boxes."""
    corners = []
    for part in parts:
        turn = rotation(quaternion(part.turn))
        signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1)
        corners.append(turn @ (signs * np.asarray(part.size)[:, None]) + np.asarray(part.at)[:, None])
    points = np.concatenate(corners, axis=1)
    return points.min(1), points.max(1)


def rotation(quat: Array) -> Array:
    w, x, y, z = quat
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


@pytest.mark.parametrize("thing", THINGS, ids=lambda t: t.name)
def test_mjcf_has_what_libero_looks_for(thing: Thing) -> None:
    root = ET.fromstring(thing_mjcf(thing))
    assert root.find("./worldbody/body/body[@name='object']") is not None
    sites = {site.get("name") for site in root.findall("./worldbody/body/site")}
    assert sites == {"bottom_site", "top_site", "horizontal_radius_site"}
    assert sum(float(g.get("mass", "nan")) for g in geoms(thing, group="0")) == pytest.approx(thing.mass, rel=1e-5)
    assert all(g.get("contype") == "0" and g.get("mass") == "0" for g in geoms(thing, group="1"))
    assert not list(root.iter("mesh"))


@pytest.mark.parametrize("thing", PRODUCTS, ids=lambda t: t.name)
def test_products_fit_between_the_fingers(thing: Thing) -> None:
    low, high = extent(thing.body)
    assert (high - low)[:2].min() < GRIPPER_OPENING_M


def test_products_look_different() -> None:
    palettes = [tuple(part.colour for part in thing.look) for thing in PRODUCTS]
    assert len(set(palettes)) == len(PRODUCTS) == 10


def test_table_frames_are_rotations_about_x() -> None:
    assert rotation(quaternion(TO_FRAME["y"])) @ [0, 0, 1] == pytest.approx([0, 1, 0])


def test_textures_are_the_same_each_time_and_serve_every_style() -> None:
    from_first, from_second = texture_files(), texture_files()
    assert from_first == from_second
    assert {"light-gray-floor-tile.png", "light-gray-plaster.png"} <= set(from_first)


def test_several_processes_write_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code = "from vst_vla.envs.placeholders import write_placeholders; print(write_placeholders())"
    writers = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    folders = {writer.communicate(timeout=60)[0].strip() for writer in writers}
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert folders == {str(write_placeholders())}
    assert [p.name for p in (tmp_path / "vst-vla" / "placeholders").iterdir()] == [Path(folders.pop()).name]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ValueError, match=r"^cannot write placeholder assets to .* or set XDG_CACHE_HOME .*$"):
        write_placeholders()


def object_poses(simulator: Simulator) -> dict[str, tuple[Array, Array]]:
    """World position (3,) and rotation (3,3) by object name."""
    problem, data = simulator.problem, simulator.sim.data
    return {
        name: (data.body_xpos[body].copy(), data.body_xmat[body].reshape(3, 3).copy())
        for name, body in problem.obj_body_id.items()
    }


def settled(
    simulator: Simulator, *, index: int
) -> tuple[dict[str, tuple[Array, Array]], dict[str, tuple[Array, Array]]]:
    """Object poses in a stored initial state, and after the settle steps."""
    simulator.reset(state=init_state(simulator.task, index=index))
    before = object_poses(simulator)
    for _ in range(SETTLE_STEPS):
        simulator.step(STILL)
    return before, object_poses(simulator)


@pytest.mark.sim
@pytest.mark.parametrize("task_id", range(num_tasks(SUITE)))
def test_stored_states_settle_upright_on_the_floor(task_id: int, placeholders: Assets) -> None:
    task = get_task(SUITE, task_id=task_id)
    simulator = Simulator(task, assets=placeholders)
    things = {thing.name: thing for thing in THINGS}
    assert simulator.get_state().shape == init_states(task)[0].shape
    for index in range(3):
        before, after = settled(simulator, index=index)
        for name, (place, turn) in after.items():
            thing = things[name.rsplit("_", 1)[0]]
            moved = place - before[name][0]
            assert np.abs(moved[:2]).max() < 0.002, f"{name} slid {moved}"
            assert abs(moved[2]) < 0.045, f"{name} fell or sprang {moved[2]:.3f} m"
            assert turn[2] @ before[name][1][2] > 0.999, f"{name} fell over"
            assert place[2] == pytest.approx(-extent(thing.body)[0][2], abs=0.001), f"{name} floats or sinks"
    assert not simulator.success()
    for camera in ("agentview", "robot0_eye_in_hand"):
        assert simulator.render(camera, size=64).std() > 10
    simulator.close()


@pytest.mark.sim
@pytest.mark.skipif(not SHARED_ASSETS.is_dir(), reason="no LIBERO assets beside the checkout")
@pytest.mark.parametrize("task_id", [0, 1, 2])
def test_placeholders_settle_where_libero_objects_do(task_id: int, placeholders: Assets) -> None:
    """The first three tasks hold all ten products between them."""
    task = get_task(SUITE, task_id=task_id)
    ours, theirs = (Simulator(task, assets=assets) for assets in (placeholders, assets_in(SHARED_ASSETS, suite=SUITE)))
    models = [simulator.sim.model._model for simulator in (ours, theirs)]
    assert joint_layout(models[0]) == joint_layout(models[1])
    rest, original_rest = settled(ours, index=0)[1], settled(theirs, index=0)[1]
    assert rest.keys() == original_rest.keys()
    for name, (place, turn) in rest.items():
        assert place == pytest.approx(original_rest[name][0], abs=0.002), name
        assert np.trace(turn.T @ original_rest[name][1]) > 2.99, name
        masses = [simulator.sim.model.body_mass[simulator.problem.obj_body_id[name]] for simulator in (ours, theirs)]
        assert masses[0] == pytest.approx(masses[1], rel=0.02), name
    ours.close()
    theirs.close()


def joint_layout(model: object) -> list[tuple[str, int, int]]:
    import mujoco

    assert isinstance(model, mujoco.MjModel)
    return [(model.joint(k).name, int(model.jnt_type[k]), int(model.jnt_qposadr[k])) for k in range(model.njnt)]


@pytest.mark.sim
def test_a_product_in_the_basket_is_success(placeholders: Assets) -> None:
    simulator = Simulator(get_task(SUITE, task_id=0), assets=placeholders)
    simulator.reset(state=init_state(simulator.task, index=0))
    (target, basket) = simulator.problem.obj_of_interest
    joint = simulator.problem.objects_dict[target].joints[-1]
    pose = simulator.sim.data.get_joint_qpos(joint).copy()
    pose[:2] = object_poses(simulator)[basket][0][:2]
    pose[2] = 0.1
    simulator.sim.data.set_joint_qpos(joint, pose)
    simulator.sim.forward()
    for _ in range(2 * SETTLE_STEPS):
        simulator.step(STILL)
    assert simulator.success()
    simulator.close()
