"""Rotations, rigid transforms, pinhole cameras and boxes. Pure numpy.

Conventions, the same everywhere:
- A transform named `world_to_camera` (4,4) takes a column vector of world coordinates to camera coordinates.
- Camera axes are OpenCV's: x right, y down, z forward, metres.
- Pixel coordinates are continuous: (0, 0) is the picture's top-left corner, the pixel in row r and column c has its
  centre at (c + 0.5, r + 0.5), and the principal point of a W x H picture is (W / 2, H / 2).
- A box is a pose (4,4), whose origin is the box centre and whose axes are the box sides, and half extents (3,).
- Euler angles are scipy's lower-case 'xyz': rotations about the fixed X, then Y, then Z axis, R = Rz Ry Rx; degrees.

Letters in shapes: N points, H/W pixels.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from vst_vla.vla.contracts import Array

BOX_NUMBERS = 9
"""x, y, z, x size, y size, z size (m), pitch, yaw, roll (degrees / 180): one box in VST's format."""

_FACE_SIGNS = ((-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0))
_CORNER_SIGNS = np.array([(x, y, z) for z in (-1.0, 1.0) for x, y in _FACE_SIGNS])


def rotation_about(axis: Array, *, angle: float) -> Array:
    """Rotation matrix (3,3) by `angle` rad about the unit vector `axis` (3,), right-handed (Rodrigues)."""
    x, y, z = axis
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * (cross @ cross))


def matrix_from_euler(degrees: Array) -> Array:
    """Euler angles (3,) about fixed X, Y, Z in degrees -> rotation matrix (3,3)."""
    about_x, about_y, about_z = np.radians(degrees)
    turns = [rotation_about(axis, angle=a) for axis, a in zip(np.eye(3), (about_x, about_y, about_z), strict=True)]
    return turns[2] @ turns[1] @ turns[0]


def euler_from_matrix(rotation: Array) -> Array:
    """Rotation matrix (3,3) -> Euler angles (3,) about fixed X, Y, Z in degrees, Y in [-90, 90].

    In gimbal lock (Y at +-90 degrees) the angle about Z is set to 0.
    """
    sine = -float(np.clip(rotation[2, 0], -1.0, 1.0))
    if abs(sine) > 1 - 1e-9:
        about_x = math.atan2(-rotation[1, 2], rotation[1, 1])
        return np.degrees([about_x, math.asin(sine), 0.0])
    about_x = math.atan2(rotation[2, 1], rotation[2, 2])
    about_z = math.atan2(rotation[1, 0], rotation[0, 0])
    return np.degrees([about_x, math.asin(sine), about_z])


def matrix_from_quaternion(wxyz: Array) -> Array:
    """Unit quaternion (4,), scalar first as in MuJoCo -> rotation matrix (3,3)."""
    w, x, y, z = wxyz / np.linalg.norm(wxyz)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )


def multiply_quaternions(first: Array, second: Array) -> Array:
    """Hamilton product (4,) of two quaternions, scalar first: the rotation `second`, then `first`."""
    a, b = first[0], first[1:]
    c, d = second[0], second[1:]
    return np.concatenate([[a * c - b @ d], a * d + c * b + np.cross(b, d)])


def rigid(rotation: Array, *, translation: Array) -> Array:
    """Rotation (3,3) and translation (3,) -> transform (4,4)."""
    transform = np.eye(4)
    transform[:3, :3] = rotation
    transform[:3, 3] = translation
    return transform


def invert_rigid(transform: Array) -> Array:
    """Inverse of a rigid transform (4,4)."""
    rotation = transform[:3, :3].T
    return rigid(rotation, translation=-rotation @ transform[:3, 3])


def apply(transform: Array, *, points: Array) -> Array:
    """Transforms points (..., 3) by (4,4)."""
    return points @ transform[:3, :3].T + transform[:3, 3]


def intrinsics_from_fovy(fovy_deg: float, *, width: int, height: int) -> Array:
    """Camera matrix (3,3) in pixels of a camera with square pixels and vertical field of view `fovy_deg`."""
    focal = height / (2 * math.tan(math.radians(fovy_deg) / 2))
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])


def project(points: Array, *, intrinsics: Array) -> Array:
    """Camera-frame points (..., 3) in front of the camera -> continuous pixel coordinates (..., 2)."""
    pixels = points @ intrinsics.T
    return np.asarray(pixels[..., :2] / pixels[..., 2:])


def unproject(depth: Array, *, intrinsics: Array) -> Array:
    """Depth (H,W) in m along z -> camera-frame points (H,W,3) of the pixel centres."""
    height, width = depth.shape
    column, row = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    x = (column - intrinsics[0, 2]) / intrinsics[0, 0]
    y = (row - intrinsics[1, 2]) / intrinsics[1, 1]
    return np.stack([x, y, np.ones_like(x)], axis=-1) * depth[..., None]


def box_corners(pose: Array, *, half_extents: Array) -> Array:
    """The eight corners (8,3), in VST's order: the z-min face around (x-,y-), (x+,y-), (x+,y+), (x-,y+), then z-max."""
    return apply(pose, points=_CORNER_SIGNS * half_extents)


def box_numbers(pose: Array, *, half_extents: Array) -> Array:
    """A box in camera coordinates as VST's nine numbers (9,), unrounded."""
    angles = euler_from_matrix(pose[:3, :3]) / 180.0
    return np.concatenate([pose[:3, 3], 2 * half_extents, angles])


def box_from_numbers(numbers: Array) -> tuple[Array, Array]:
    """VST's nine numbers -> pose (4,4) in camera coordinates and half extents (3,).

    Raises:
        ValueError: another count of numbers.
    """
    values = np.asarray(numbers, dtype=np.float64)
    if values.shape != (BOX_NUMBERS,):
        raise ValueError(f"a box has {BOX_NUMBERS} numbers, got {values.size}: x, y, z, three sizes, pitch, yaw, roll")
    pose = rigid(matrix_from_euler(values[6:] * 180.0), translation=values[:3])
    return pose, values[3:6] / 2


def upright_box(pose: Array, *, half_extents: Array) -> tuple[Array, Array]:
    """The same box with its sides renamed, so that its rotation is the smallest of the 24 that describe it.

    A box has 24 right-handed ways to call its sides x, y and z. Taking the one nearest to no rotation gives each box
    one answer: an object that stands in front of a level camera reads (width, height, depth, 0, 0, 0).
    """
    best = max(_RENAMINGS, key=lambda renaming: float(np.trace(pose[:3, :3] @ renaming)))
    return rigid(pose[:3, :3] @ best, translation=pose[:3, 3]), np.abs(best.T) @ half_extents


def spin_box(pose: Array, *, half_extents: Array, axis: int) -> tuple[Array, Array]:
    """The box of an object that is round about its own `axis`, turned about that axis so that its rotation is smallest.

    Every turn of it fits equally well; this one is the answer that a picture can tell.
    """
    spine = pose[:3, axis]
    place = int(np.argmax(np.abs(spine)))
    spine = spine * np.sign(spine[place])
    start = np.eye(3)[place]
    x, y, z = np.cross(start, spine)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    rotation = np.eye(3) + cross + cross @ cross / (1 + spine[place])
    sides = np.full(3, np.delete(half_extents, axis).max())
    sides[place] = half_extents[axis]
    return rigid(rotation, translation=pose[:3, 3]), sides


def round_axis(points: Array) -> int:
    """The axis about which points (N,3), centred in their own frame, look alike from all sides; -1 without one.

    The outline seen along it must be a circle to within 4 % of its radius.
    """
    angles = np.linspace(0, 2 * math.pi, 32, endpoint=False)
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    for axis in range(3):
        reach = (np.delete(points, axis, axis=1) @ directions.T).max(axis=0)
        if np.ptp(reach) <= 0.04 * reach.max():
            return axis
    return -1


def tight_box(points: Array) -> tuple[Array, Array]:
    """A snug box around points (N,3): pose (4,4) and half extents (3,), in the points' own frame.

    The frame's own axes are kept, unless a turn about one of them (minimum-area rectangle of the outline seen along it)
    saves a tenth of the volume; so a box drawn straight in its model keeps the model's axes.
    """
    straight = _box_along(points, np.eye(3))
    turned = [_box_along(points, _best_turn(points, axis)) for axis in range(3)]
    smallest = min(turned, key=lambda box: float(np.prod(box[1])))
    return smallest if np.prod(smallest[1]) < 0.9 * np.prod(straight[1]) else straight


def outline(points: Array) -> Array:
    """Convex hull (M,2) of points (N,2), counter-clockwise (Andrew's monotone chain)."""
    ordered = sorted(set(map(tuple, points.tolist())))
    halves = (_half_outline(ordered), _half_outline(ordered[::-1]))
    return np.array([*halves[0][:-1], *halves[1][:-1]] or ordered)


def _half_outline(ordered: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    chain: list[tuple[float, ...]] = []
    for point in ordered:
        while len(chain) > 1 and _turns_right(chain[-2], chain[-1], point):
            chain.pop()
        chain.append(point)
    return chain


def _turns_right(a: tuple[float, ...], b: tuple[float, ...], c: tuple[float, ...]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0


def _best_turn(points: Array, axis: int) -> Array:
    """Rotation (3,3), columns the new axes, about one axis that makes the outline's bounding rectangle smallest."""
    plane = [(axis + 1) % 3, (axis + 2) % 3]
    hull = outline(points[:, plane])
    edges = np.roll(hull, -1, axis=0) - hull
    angles = np.unique(np.round(np.arctan2(edges[:, 1], edges[:, 0]) % (math.pi / 2), 6))
    cos, sin = np.cos(angles), np.sin(angles)
    along = np.stack([np.stack([cos, sin], -1), np.stack([-sin, cos], -1)])  # (2, angles, 2)
    spans = np.ptp(along @ hull.T, axis=-1)
    angle = float(angles[np.argmin(spans[0] * spans[1])])
    angle = angle - math.pi / 2 if angle > math.pi / 4 else angle
    return rotation_about(np.eye(3)[axis], angle=angle)


def _box_along(points: Array, axes: Array) -> tuple[Array, Array]:
    local = points @ axes
    low, high = local.min(axis=0), local.max(axis=0)
    return rigid(axes, translation=axes @ ((low + high) / 2)), (high - low) / 2


def _renamings() -> list[Array]:
    """The 24 rotation matrices whose entries are -1, 0 and 1."""
    signed = [
        np.eye(3)[list(order)] * np.array(signs)
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
    return [matrix for matrix in signed if np.linalg.det(matrix) > 0]


_RENAMINGS = _renamings()
