"""Parts, free cameras, goals and the gripper: scenes of a kitchen table, and moments of an episode played for real."""

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.geometry import apply, box_corners, box_from_numbers, outline, project
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.envs.qa.view import view_of
from vst_vla.policies.episode_states import expert_states

pytestmark = pytest.mark.sim
SIZE = 192
SHOT = Shot(cameras=(), extra_views=3, image_size=SIZE, mirror=True, init_states=tuple(range(20, 50)))


@pytest.fixture(scope="module")
def stage(has_full_assets):
    if not has_full_assets:
        pytest.skip("libero_goal needs LIBERO's assets")
    made = Stage("libero_goal", task_id=0, assets=find_assets("libero_goal"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def scenes(stage):
    rng = np.random.default_rng(1)
    return [stage.rearranged(SHOT, rng=rng) for _ in range(4)]


def inside(polygon, points):
    """Which points (N,2) lie inside a convex counter-clockwise polygon (M,2), a pixel of tolerance."""
    edges = np.roll(polygon, -1, axis=0) - polygon
    normals = np.stack([edges[:, 1], -edges[:, 0]], -1) / np.maximum(np.linalg.norm(edges, axis=1, keepdims=True), 1e-9)
    return (np.einsum("mk,nmk->nm", normals, points[:, None] - polygon[None]) < 1).all(axis=1)


def area(polygon):
    x, y = polygon.T
    return abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def silhouettes(scenes):
    """(scene, camera, object, hull of its visible pixels) of everything unoccluded and wholly in the picture."""
    for scene in scenes:
        for camera in range(len(scene.cameras)):
            for number in range(scene.num_objects):
                rows, columns = np.nonzero(scene.mask(camera, number=number))
                touches = len(rows) and (
                    min(rows.min(), columns.min()) < 2 or max(rows.max(), columns.max()) > SIZE - 3
                )
                if scene.visible[camera, number] < 0.97 or len(rows) < 60 or touches:
                    continue
                pixels = np.concatenate([np.c_[columns + dx, rows + dy] for dx in (0, 1) for dy in (0, 1)])
                yield scene, camera, number, outline(pixels.astype(float))


def test_drawers_and_knobs_are_objects_with_handles(scenes):
    scene = scenes[0]
    drawer = scene.names.index("wooden_cabinet_1_top_drawer")
    handle = scene.names.index("wooden_cabinet_1_top_drawer_handle")
    cabinet = scene.names.index("wooden_cabinet_1")
    assert scene.categories[handle] == "handle of the top drawer of the wooden cabinet"
    assert (scene.parents[handle], scene.parents[drawer], scene.parents[cabinet]) == (drawer, cabinet, -1)
    assert {drawer, handle} <= set(scene.members(cabinet))
    for camera in range(len(scene.cameras)):
        whole = scene.mask(camera, number=cabinet)
        assert not (scene.mask(camera, number=handle) & ~whole).any()
        assert whole.sum() >= (scene.instances[camera] == cabinet + 1).sum()
    assert scene.half_extents[handle].max() < scene.half_extents[drawer].max() < scene.half_extents[cabinet].max()


def test_only_what_hangs_on_the_world_is_fixed(scenes):
    fixed = {name for name, is_fixed in zip(scenes[0].names, scenes[0].fixed, strict=True) if is_fixed}
    assert {"wooden_cabinet_1", "wooden_cabinet_1_top_drawer", "flat_stove_1", "wine_rack_1"} <= fixed
    assert not fixed & {"akita_black_bowl_1", "plate_1", "wine_bottle_1", "cream_cheese_1"}


def test_an_opened_drawer_takes_its_box_along(stage):
    model, data = stage.simulator.sim.model._model, stage.simulator.sim.data._data
    scene = stage.rearranged(SHOT, rng=np.random.default_rng(2))
    joint = model.joint("wooden_cabinet_1_top_level").id
    state = scene.state.copy()
    state[1 + model.jnt_qposadr[joint]] -= 0.1
    stage.simulator.set_state(state)
    after = stage.reader.capture(cameras=("agentview",), size=64)
    moved = np.linalg.norm(after.poses[:, :3, 3] - scene.poses[:, :3, 3], axis=1)
    for number, name in enumerate(scene.names):
        assert moved[number] == pytest.approx(
            0.1 if "top_drawer" in name else 0.0, abs=0.06 if name.endswith("cabinet_1") else 1e-6
        )
    assert abs(data.qpos[model.jnt_qposadr[joint]] + 0.1) < 0.02


def test_every_outline_meets_its_silhouette_from_any_side(stage, scenes):
    """Poses, cameras and masks agree: the projected model's hull and the hull of its pixels are the same."""
    seen = set()
    for scene, camera, number, hull in silhouettes(scenes):
        stage.simulator.set_state(scene.state)
        item = stage.reader.objects[number]
        data = stage.simulator.sim.data._data
        points = np.concatenate(
            [p @ data.xmat[b].reshape(3, 3).T + data.xpos[b] for b, p in item.points.items()]
        ) * np.array([1, -1, 1])
        pixels = outline(
            project(apply(scene.world_to_camera[camera], points=points), intrinsics=scene.intrinsics[camera])
        )
        assert inside(pixels, hull).all(), scene.names[number]
        assert area(pixels) / area(hull) > 0.85, scene.names[number]
        seen.add(scene.names[number])
    assert len(seen) >= 6


def test_every_box_covers_its_object_and_is_tight(scenes):
    """Boxy objects fill their box's outline; round and hollow ones cannot from every side, so they only must fit in."""
    shares = {}
    for scene, camera, number, hull in silhouettes(scenes):
        pose, half_extents = box_from_numbers(view_of(scene, camera=camera).seen[number].box)
        corners = project(box_corners(pose, half_extents=half_extents), intrinsics=scene.intrinsics[camera])
        polygon = outline(corners)
        assert inside(polygon, hull).all(), scene.names[number]
        shares.setdefault(scene.categories[number], []).append(area(hull) / area(polygon))
    assert min(shares["cream cheese"]) >= 0.8
    assert all(np.median(values) >= 0.5 for values in shares.values())


def test_boxes_touch_the_model_on_all_six_sides(stage, scenes):
    stage.simulator.set_state(scenes[0].state)
    data = stage.simulator.sim.data._data
    for item in stage.reader.objects:
        pose, half_extents = item.pose(data)
        points = np.concatenate([p @ data.xmat[b].reshape(3, 3).T + data.xpos[b] for b, p in item.points.items()])
        local = apply(np.linalg.inv(pose), points=points)
        np.testing.assert_allclose(local.max(axis=0), half_extents, atol=1e-6, err_msg=item.name)
        np.testing.assert_allclose(local.min(axis=0), -half_extents, atol=1e-6, err_msg=item.name)


def test_a_clip_of_a_real_episode_shows_it_being_solved():
    stage = Stage("libero_object", task_id=0, assets=find_assets("libero_object"))
    shot = Shot(cameras=("agentview",), extra_views=1, image_size=64, mirror=True, init_states=(20, 21))
    rng = np.random.default_rng(0)
    episode = stage.play(expert_states, shot, rng=rng)
    clip = stage.clip(episode, shot, rng=rng)
    moment = stage.moment(episode, shot, rng=rng)
    stage.close()
    assert clip.frames[0].cameras == ("agentview", "still")
    assert clip.times[0] == 0
    assert clip.times[-1] == pytest.approx((len(episode.states) - 1) / 20)
    assert [goal.holds for goal in clip.frames[0].goals] == [False]
    assert [goal.holds for goal in clip.frames[-1].goals] == [True]
    assert clip.frames[0].goals[0].predicate[:2] == ("in", "alphabet_soup_1")
    soup = clip.frames[0].names.index("alphabet_soup_1")
    assert soup in {number for frame in clip.frames for number in frame.gripper.held}
    held = next(frame for frame in clip.frames if soup in frame.gripper.held)
    assert np.linalg.norm(held.gripper.pose[:3, 3] - held.poses[soup, :3, 3]) < 0.08
    assert held.gripper.opening < clip.frames[0].gripper.opening
    still = np.array([frame.world_to_camera[1] for frame in clip.frames])
    np.testing.assert_array_equal(still, still[:1].repeat(len(still), axis=0))
    assert "step" in moment.source
    assert any((state == moment.state).all() for state in episode.states)
