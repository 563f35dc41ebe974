"""Ground truth against the pixels it belongs to, in LIBERO for real, mirrored and physical."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from vst_vla.envs.geometry import apply, box_corners, invert_rigid, outline, project, unproject
from vst_vla.envs.scene import SceneReader, capture_scene
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.envs.suites import get_task, init_state
from vst_vla.envs.truth import draw_geoms, only
from vst_vla.vla.contracts import STILL_ACTION

pytestmark = pytest.mark.sim
SIZE = 256


@pytest.fixture(scope="module")
def reader():
    simulator = Simulator(get_task("libero_object", task_id=0))
    simulator.reset(state=init_state(simulator.task, index=20))
    for _ in range(20):
        simulator.step(np.array(STILL_ACTION))
    yield SceneReader(simulator)
    simulator.close()


@pytest.fixture(scope="module", params=[True, False], ids=["mirrored", "physical"])
def scene(request, reader):
    return reader.capture(size=SIZE, mirror=request.param, source="test")


def camera_corners(scene, camera, number):
    corners = box_corners(scene.poses[number], half_extents=scene.half_extents[number])
    return apply(scene.world_to_camera[camera], points=corners)


def fill(points):
    """Pixels whose centres lie in the convex outline of continuous pixel coordinates, drawn 4 times larger."""
    canvas = Image.new("1", (4 * SIZE, 4 * SIZE))
    ImageDraw.Draw(canvas).polygon([tuple(4 * p) for p in outline(points)], fill=1, outline=1)
    return np.asarray(canvas)[2::4, 2::4]


def whole_objects(scene):
    """(camera, object) of everything unoccluded whose box lies inside the picture."""
    for camera in range(len(scene.cameras)):
        for number in range(scene.num_objects):
            corners = camera_corners(scene, camera, number)
            if scene.visible[camera, number] < 0.97 or corners[:, 2].min() < 0.05:
                continue
            pixels = project(corners, intrinsics=scene.intrinsics[camera])
            if (pixels > 0).all() and (pixels < SIZE).all():
                yield camera, number, pixels


def test_shapes_types_and_names(scene):
    objects = scene.num_objects
    assert objects == 7
    assert scene.categories[scene.names.index("alphabet_soup_1")] == "alphabet soup"
    assert scene.images.shape == (2, SIZE, SIZE, 3)
    assert scene.images.dtype == np.uint8
    assert scene.depth.dtype == np.float32
    assert scene.instances.dtype == np.int16
    assert scene.visible.shape == (2, objects)
    assert scene.visible.dtype == np.float32
    assert ((scene.visible >= 0) & (scene.visible <= 1)).all()
    assert scene.cameras == CAMERAS
    assert scene.task.startswith("pick up the alphabet soup")


def test_boxes_project_onto_their_objects(scene):
    seen = 0
    for camera, number, pixels in whole_objects(scene):
        mask = scene.instances[camera] == number + 1
        rows, columns = np.nonzero(mask)
        silhouette = fill(np.concatenate([np.c_[columns + dx, rows + dy] for dx in (0, 1) for dy in (0, 1)]))
        box = fill(pixels)
        assert (box & silhouette).sum() / (box | silhouette).sum() >= 0.7, scene.names[number]
        assert (box & mask).sum() >= 0.95 * mask.sum(), scene.names[number]
        seen += 1
    assert seen >= 5


def test_depth_at_an_objects_pixels_lies_inside_its_box(scene):
    for camera in range(2):
        camera_points = unproject(scene.depth[camera], intrinsics=scene.intrinsics[camera])
        for number in range(scene.num_objects):
            mask = scene.instances[camera] == number + 1
            if mask.sum() < 50:
                continue
            box_from_camera = invert_rigid(scene.world_to_camera[camera] @ scene.poses[number])
            local = np.abs(apply(box_from_camera, points=camera_points[mask]))
            inside = (local <= scene.half_extents[number] + 0.006).all(axis=1)
            assert inside.mean() >= 0.97, (scene.names[number], scene.cameras[camera])


def test_the_floor_is_at_height_zero_in_both_cameras(scene):
    for camera in range(2):
        points = unproject(scene.depth[camera], intrinsics=scene.intrinsics[camera])
        world = apply(invert_rigid(scene.world_to_camera[camera]), points=points)
        lower = world[SIZE // 2 : 3 * SIZE // 4][scene.instances[camera, SIZE // 2 : 3 * SIZE // 4] == 0]
        assert abs(np.median(lower[:, 2])) < 0.01


def test_every_rotation_is_proper_and_every_box_rests_on_the_floor(scene):
    for transform in [*scene.poses, *scene.world_to_camera]:
        np.testing.assert_allclose(transform[:3, :3] @ transform[:3, :3].T, np.eye(3), atol=1e-6)
        assert np.linalg.det(transform[:3, :3]) == pytest.approx(1)
    for pose, half_extents in zip(scene.poses, scene.half_extents, strict=True):
        assert abs(box_corners(pose, half_extents=half_extents)[:, 2].min()) < 0.01


def test_mirroring_flips_pictures_and_geometry_together(reader):
    mirrored, physical = (reader.capture(size=64, mirror=m) for m in (True, False))
    assert mirrored.mirrored
    assert not physical.mirrored
    for name in ("images", "depth", "instances"):
        np.testing.assert_array_equal(getattr(mirrored, name), getattr(physical, name)[:, :, ::-1])
    for camera in range(2):
        for number in range(mirrored.num_objects):
            ours, theirs = (s.world_to_camera[camera] @ s.poses[number] for s in (mirrored, physical))
            np.testing.assert_allclose(ours[:3, 3], theirs[:3, 3] * (-1, 1, 1), atol=1e-9)
    np.testing.assert_array_equal(mirrored.visible, physical.visible)


def test_mirrored_pictures_are_the_policies(reader):
    scene = reader.capture(size=64)
    for image, camera in zip(scene.images, CAMERAS, strict=True):
        np.testing.assert_array_equal(image, reader.simulator.render(camera, size=64))


def test_visible_fractions_are_those_of_objects_drawn_alone(reader):
    scene = reader.capture(size=128, mirror=False)
    for camera, name in enumerate(CAMERAS):
        for number, item in enumerate(reader.objects):
            with only(reader.simulator, geoms=item.geoms):
                drawn = draw_geoms(reader.simulator, camera=name, size=128)
            alone = int(np.isin(drawn, np.flatnonzero(item.geoms)).sum())
            pixels = int((scene.instances[camera] == number + 1).sum())
            expected = pixels / alone if pixels else 0.0
            assert scene.visible[camera, number] == pytest.approx(min(expected, 1.0), abs=1e-6)


def test_capturing_leaves_the_scene_as_it_was(reader):
    before = reader.simulator.get_state()
    picture = reader.simulator.render("agentview", size=64)
    reader.capture(size=64)
    np.testing.assert_array_equal(reader.simulator.get_state(), before)
    np.testing.assert_array_equal(reader.simulator.render("agentview", size=64), picture)


def test_unknown_camera_and_tiny_size_are_refused(reader):
    with pytest.raises(ValueError, match="unknown camera 'agentvew': did you mean 'agentview'"):
        capture_scene(reader.simulator, cameras=("agentvew",))
    with pytest.raises(ValueError, match="size 8 is too small"):
        capture_scene(reader.simulator, size=8)
