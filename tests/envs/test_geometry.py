"""Rotations, projections and boxes against scipy and against first principles."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vst_vla.envs.geometry import (
    apply,
    box_corners,
    box_from_numbers,
    box_numbers,
    euler_from_matrix,
    intrinsics_from_fovy,
    invert_rigid,
    matrix_from_euler,
    matrix_from_quaternion,
    multiply_quaternions,
    outline,
    project,
    rigid,
    rotation_about,
    round_axis,
    spin_box,
    tight_box,
    unproject,
    upright_box,
)

RNG = np.random.default_rng(0)


def corner_set(pose, half_extents):
    corners = np.round(box_corners(pose, half_extents=half_extents), 6) + 0.0
    return sorted(map(tuple, corners))


@pytest.mark.parametrize("rotation", Rotation.random(20, random_state=0))
def test_euler_is_scipys_lower_case_xyz(rotation):
    degrees = rotation.as_euler("xyz", degrees=True)
    np.testing.assert_allclose(matrix_from_euler(degrees), rotation.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(euler_from_matrix(rotation.as_matrix()), degrees, atol=1e-9)


@pytest.mark.parametrize("about_y", [90.0, -90.0])
def test_euler_in_gimbal_lock_gives_the_same_rotation(about_y):
    matrix = matrix_from_euler(np.array([20.0, about_y, 35.0]))
    angles = euler_from_matrix(matrix)
    assert angles[2] == 0
    np.testing.assert_allclose(matrix_from_euler(angles), matrix, atol=1e-6)


def test_quaternions_are_scalar_first_and_compose():
    first, second = Rotation.random(2, random_state=1)
    product = multiply_quaternions(first.as_quat(scalar_first=True), second.as_quat(scalar_first=True))
    np.testing.assert_allclose(matrix_from_quaternion(product), (first * second).as_matrix(), atol=1e-12)


def test_corner_order_is_vsts():
    corners = box_corners(np.eye(4), half_extents=np.array([1.0, 2.0, 3.0]))
    face = [(-1, -2), (1, -2), (1, 2), (-1, 2)]
    assert corners.tolist() == [[x, y, z] for z in (-3, 3) for x, y in face]


def test_projection_and_unprojection_are_inverse_at_pixel_centres():
    intrinsics = intrinsics_from_fovy(45.0, width=64, height=48)
    depth = RNG.uniform(0.5, 2.0, (48, 64))
    pixels = project(unproject(depth, intrinsics=intrinsics), intrinsics=intrinsics)
    np.testing.assert_allclose(pixels[7, 11], [11.5, 7.5])
    top = project(np.array([0.0, -np.tan(np.radians(22.5)), 1.0]), intrinsics=intrinsics)
    np.testing.assert_allclose(top, [32.0, 0.0], atol=1e-9)


def test_inverse_of_a_rigid_transform():
    transform = rigid(Rotation.random(random_state=3).as_matrix(), translation=np.array([1.0, -2.0, 3.0]))
    points = RNG.normal(size=(5, 3))
    np.testing.assert_allclose(apply(invert_rigid(transform), points=apply(transform, points=points)), points)


@pytest.mark.parametrize("rotation", Rotation.random(10, random_state=4))
def test_upright_box_is_the_same_box_turned_least(rotation):
    pose, half = rigid(rotation.as_matrix(), translation=np.array([0.1, 0.2, 1.0])), np.array([0.1, 0.2, 0.3])
    upright, sides = upright_box(pose, half_extents=half)
    assert corner_set(upright, sides) == corner_set(pose, half)
    assert np.linalg.det(upright[:3, :3]) == pytest.approx(1)
    assert np.trace(upright[:3, :3]) >= 1  # no box needs a turn of more than 90 degrees


def test_nine_numbers_round_trip():
    pose = rigid(Rotation.random(random_state=5).as_matrix(), translation=np.array([0.1, 0.2, 1.0]))
    half = np.array([0.1, 0.2, 0.3])
    numbers = box_numbers(pose, half_extents=half)
    assert (np.abs(numbers[6:]) <= 1).all()
    back, sides = box_from_numbers(numbers)
    np.testing.assert_allclose(back, pose, atol=1e-9)
    np.testing.assert_allclose(sides, half)


def test_a_box_of_eight_numbers_is_refused():
    with pytest.raises(ValueError, match="9 numbers, got 8"):
        box_from_numbers(np.zeros(8))


def test_tight_box_finds_a_turned_box_and_keeps_a_straight_one():
    half = np.array([0.3, 0.1, 0.2])
    turned = rigid(rotation_about(np.array([0.0, 0.0, 1.0]), angle=0.6), translation=np.array([1.0, 2.0, 3.0]))
    found, sides = tight_box(box_corners(turned, half_extents=half))
    assert np.prod(sides) == pytest.approx(np.prod(half), rel=1e-4)
    np.testing.assert_allclose(found[:3, 3], [1, 2, 3], atol=1e-4)
    straight, sides = tight_box(box_corners(np.eye(4), half_extents=half))
    np.testing.assert_array_equal(straight[:3, :3], np.eye(3))
    np.testing.assert_allclose(sides, half)


def test_outline_drops_inner_points():
    square = np.array([[0, 0], [2, 0], [2, 2], [0, 2], [1, 1], [1, 0]], dtype=float)
    assert sorted(map(tuple, outline(square))) == [(0, 0), (0, 2), (2, 0), (2, 2)]


def test_a_round_box_is_turned_about_its_axis_only():
    rng = np.random.default_rng(0)
    for axis in range(3):
        for _ in range(20):
            tilt = matrix_from_euler(rng.uniform(-180, 180, size=3))
            half_extents = np.full(3, 0.03)
            half_extents[axis] = 0.1
            pose, spun = spin_box(rigid(tilt, translation=rng.normal(size=3)), half_extents=half_extents, axis=axis)
            place = int(np.argmax(spun))
            np.testing.assert_allclose(np.abs(pose[:3, place] @ tilt[:, axis]), 1)
            np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-9)
            assert np.linalg.det(pose[:3, :3]) == pytest.approx(1)
            turned = [pose[:3, :3] @ rotation_about(np.eye(3)[place], angle=a) for a in rng.uniform(0, 6, size=5)]
            assert np.trace(pose[:3, :3]) >= max(np.trace(rotation) for rotation in turned)


def test_circles_are_round_and_squares_are_not():
    angles = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    can = np.concatenate([np.c_[ring, np.full(24, z)] for z in (-1.5, 1.5)])
    assert round_axis(can) == 2
    assert round_axis(can[:, [2, 0, 1]]) == 0
    assert round_axis(box_corners(np.eye(4), half_extents=np.array([1.0, 1.0, 2.0]))) == -1
