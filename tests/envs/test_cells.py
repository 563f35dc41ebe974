"""Labels of a picture's cells against the simulator's own masks, depth and cameras."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from vst_vla.envs.cells import BACKGROUND, CELLS, ROBOT, SAMPLES, CellReader, summarise
from vst_vla.envs.geometry import apply, project
from vst_vla.envs.scene import camera_matrices, capture_scene
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.envs.suites import get_task, init_state
from vst_vla.vla.contracts import CELL_NUMBERS, Array

SIZE = CELLS * SAMPLES


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """The hand is on its way down, so that it is in both views."""
    made = Simulator(get_task("libero_object", task_id=0))
    made.reset(state=init_state(made.task, index=20))
    for _ in range(15):
        made.step(np.array([0, 0, -0.6, 0, 0, 0, -1.0]))
    yield made
    made.close()


@pytest.fixture(scope="module", params=CAMERAS)
def view(request: pytest.FixtureRequest, simulator: Simulator) -> tuple[str, Array, tuple[str, ...]]:
    reader = CellReader(simulator)
    return request.param, reader.read(request.param), reader.classes


@pytest.mark.sim
def test_a_labels_point_is_seen_by_the_camera_in_its_cell(
    simulator: Simulator, view: tuple[str, Array, object]
) -> None:
    """The points are physical, the labels mirrored like the pictures: column c of a label is CELLS - 1 - c."""
    camera, labels, _ = view
    assert labels.shape == (CELLS, CELLS, len(CELL_NUMBERS))
    intrinsics, world_to_camera = camera_matrices(simulator, camera=camera, size=SIZE)
    seen = apply(world_to_camera, points=labels[..., 2:] / 1000.0)
    drawn = labels[..., 1] > 0
    assert drawn.mean() > 0.9
    np.testing.assert_allclose(seen[drawn, 2] * 1000, labels[drawn, 1], atol=2)
    cells = project(seen, intrinsics=intrinsics) / SAMPLES
    row, column = np.indices(drawn.shape)
    off = np.stack([CELLS - cells[..., 0] - (column + 0.5), cells[..., 1] - (row + 0.5)], axis=-1)[drawn]
    rounding = 0.001 * intrinsics[0, 0] / (labels[drawn, 1] / 1000.0) / SAMPLES  # of a point to whole mm, in cells
    assert (np.abs(off).max(axis=-1) <= 0.5 + rounding).all()


@pytest.mark.sim
def test_a_labels_class_is_what_most_of_its_cell_shows(simulator: Simulator, view: tuple[str, Array, tuple]) -> None:
    camera, labels, classes = view
    scene = capture_scene(simulator, cameras=[camera], size=SIZE)
    categories = np.array([BACKGROUND, *scene.categories])
    shown = (
        categories[scene.instances[0]].reshape(CELLS, SAMPLES, CELLS, SAMPLES).swapaxes(1, 2).reshape(CELLS, CELLS, -1)
    )
    names = np.array(classes)[labels[..., 0]]
    objects = ~np.isin(names, [BACKGROUND, ROBOT])
    votes = (shown == names[..., None]).sum(axis=-1)
    most = np.array([[max((cell == name).sum() for name in set(cell)) for cell in line] for line in shown])
    np.testing.assert_array_equal(votes[objects], most[objects])
    assert objects.sum() > 5
    assert {"alphabet soup", "basket"} <= set(classes)
    assert (votes[names == ROBOT] == 0).all(), "the robot is no object of the scene"


@pytest.mark.sim
def test_the_robots_hand_is_labelled_where_the_state_says_it_is(simulator: Simulator) -> None:
    reader = CellReader(simulator)
    labels = reader.read(CAMERAS[0])
    robot = labels[labels[..., 0] == reader.classes.index(ROBOT)]
    hand = simulator.observe()["robot0_eef_pos"]
    assert np.linalg.norm(robot[:, 2:] / 1000.0 - hand, axis=-1).min() < 0.06


def test_a_cells_point_has_the_median_depth_of_its_class() -> None:
    rng = np.random.default_rng(0)
    classes, numbers = rng.integers(0, 3, (SIZE, SIZE)), rng.uniform(0, 2000, (SIZE, SIZE, 4))
    labels = summarise(classes, numbers)
    for row, column in ((0, 0), (3, 7), (CELLS - 1, CELLS - 1)):
        cell = np.s_[SAMPLES * row : SAMPLES * (row + 1), SAMPLES * column : SAMPLES * (column + 1)]
        kinds, points = classes[cell].ravel(), numbers[cell].reshape(-1, 4)
        kind = labels[row, column, 0]
        assert (kinds == kind).sum() == np.bincount(kinds).max()
        ordered = points[kinds == kind]
        middle = ordered[np.argsort(ordered[:, 0])[(len(ordered) - 1) // 2]]
        np.testing.assert_array_equal(labels[row, column, 1:], np.rint(middle))


def test_far_points_are_cut_to_what_a_label_holds() -> None:
    labels = summarise(np.zeros((SIZE, SIZE), int), np.full((SIZE, SIZE, 4), 1e6))
    assert labels[0, 0].tolist() == [0, 32767, 32767, 32767, 32767]
