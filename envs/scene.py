"""Ground truth of a simulated moment: pictures, depth, object masks, boxes and cameras as one `SceneState`.

Mirrored or physical. LIBERO's policy pictures are upright but mirrored left to right (see `envs/simulator.py`). With
`mirror=True` a scene is captured as those pictures show it, and its geometry is that of the mirror world, in which
such a picture is an ordinary photograph: with M = diag(-1, 1, 1),

    world      y is negated (LIBERO's left and right), z stays up:           p' = S p, S = diag(1, -1, 1)
    cameras    x is negated as well, so each stays a proper rigid transform:  R' = M R S, t' = M t
    boxes      a box is its own mirror image: centre S c, axes S R M (one flipped, so the rotation stays proper),
               the same half extents
    intrinsics the principal point moves to W - c_x, which is where it was

So every projection meets its pixels, every rotation has determinant +1, and several cameras agree with each other.
`mirror=False` gives the physical right-handed world, in MuJoCo's coordinates, and unmirrored pictures.

Letters in shapes: K cameras, H/W pixels, O objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.envs.geometry import apply, box_corners, intrinsics_from_fovy, invert_rigid, project, rigid
from vst_vla.envs.objects import find_objects
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.envs.truth import OPENCV_FROM_OPENGL, Camera, camera_number, draw_geoms, draw_picture, only
from vst_vla.vla.contracts import Array, GoalState, GripperState, SceneState

_FLIP_X = np.diag([-1.0, 1.0, 1.0, 1.0])
_FLIP_Y = np.diag([1.0, -1.0, 1.0, 1.0])
_NEAR = 0.01  # m, in front of which a projection is not trusted


def capture_scene(
    simulator: Simulator,
    *,
    cameras: Sequence[str | Camera] = CAMERAS,
    size: int = 256,
    mirror: bool = True,
    source: str = "",
) -> SceneState:
    """The simulator's present moment. Build a `SceneReader` instead to capture many: it measures the objects once.

    Args:
        simulator: a LIBERO scene in any state.
        cameras: MuJoCo camera names, and cameras put anywhere.
        size: height and width of the pictures in pixels.
        mirror: as the policies' pictures show it, or physical; see the module's note.
        source: where the moment comes from, kept in the scene.

    Raises:
        ValueError: for an unknown camera or a size below 16.
    """
    return SceneReader(simulator).capture(cameras=cameras, size=size, mirror=mirror, source=source)


class SceneReader:
    """Captures scenes from one simulator. Object outlines and boxes are measured when it is made."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.objects = find_objects(simulator)
        self._owner = np.zeros(simulator.sim.model.ngeom + 1, dtype=np.int16)  # geom id -> o + 1; -1 finds the last, 0
        for number, item in enumerate(self.objects, start=1):
            self._owner[:-1][item.geoms] = number  # a part comes after its whole and takes its own geoms
        self._members = self._memberships()
        fingers = simulator.problem.robots[0].gripper.important_geoms
        names = (fingers["left_finger"], fingers["right_finger"])
        self._fingers = [[simulator.sim.model._model.geom(geom).id for geom in finger] for finger in names]

    def capture(
        self, *, cameras: Sequence[str | Camera] = CAMERAS, size: int = 256, mirror: bool = True, source: str = ""
    ) -> SceneState:
        """As `capture_scene`."""
        if size < 16:
            raise ValueError(f"size {size} is too small: give at least 16 pixels")
        boxes = [item.pose(self.simulator.sim.data._data) for item in self.objects]
        poses = np.array([pose for pose, _ in boxes]).reshape(-1, 4, 4)
        half_extents = np.array([half for _, half in boxes]).reshape(-1, 3)
        views = [self._view(camera, size, poses, half_extents) for camera in cameras]
        views = [view.mirrored() for view in views] if mirror else views
        return SceneState(
            names=tuple(item.name for item in self.objects),
            categories=tuple(item.category for item in self.objects),
            poses=_FLIP_Y @ poses @ _FLIP_X if mirror else poses,
            half_extents=half_extents,
            visible=np.stack([view.visible for view in views]),
            cameras=tuple(camera if isinstance(camera, str) else camera.name for camera in cameras),
            images=np.stack([view.image for view in views]),
            depth=np.stack([view.depth for view in views]),
            instances=np.stack([view.instances for view in views]),
            intrinsics=np.stack([view.intrinsics for view in views]),
            world_to_camera=np.stack([view.world_to_camera for view in views]),
            task=self.simulator.language,
            source=source,
            state=self.simulator.get_state(),
            gripper=self._gripper(mirror=mirror),
            base=self._base(mirror=mirror),
            goals=self._goals(),
            parents=tuple(item.parent for item in self.objects),
            round_axes=tuple(item.round_axis for item in self.objects),
            fixed=tuple(item.fixed for item in self.objects),
            mirrored=mirror,
        )

    def _memberships(self) -> Array:
        """(O, O + 1) bool: which numbers in an instance picture belong to each object."""
        count = len(self.objects)
        members = np.eye(count, count + 1, k=1, dtype=bool)
        for number in reversed(range(count)):  # parts come after their wholes
            if (parent := self.objects[number].parent) >= 0:
                members[parent] |= members[number]
        return members

    def _gripper(self, *, mirror: bool) -> GripperState:
        model, data = self.simulator.sim.model._model, self.simulator.sim.data._data
        robot = self.simulator.problem.robots[0]
        site = model.site(f"{robot.gripper.naming_prefix}grip_site").id
        pose = rigid(data.site_xmat[site].reshape(3, 3), translation=data.site_xpos[site])
        pairs = data.contact.geom[data.contact.dist < 0]
        touched = [np.concatenate([pairs[np.isin(pairs[:, i], f), 1 - i] for i in (0, 1)]) for f in self._fingers]
        held = [o for o, item in enumerate(self.objects) if all(item.geoms[geoms].any() for geoms in touched)]
        return GripperState(
            pose=_FLIP_Y @ pose @ _FLIP_X if mirror else pose,
            opening=float(np.abs(data.qpos[robot._ref_gripper_joint_pos_indexes]).sum()),
            held=tuple(held),
        )

    def _base(self, *, mirror: bool) -> Array:
        robot = self.simulator.problem.robots[0].robot_model
        place = np.array(self.simulator.sim.data._data.body(robot.root_body).xpos)
        return place * (1, -1, 1) if mirror else place

    def _goals(self) -> tuple[GoalState, ...]:
        clauses = self.simulator.goal
        return tuple(GoalState(predicate=tuple(clause), holds=self.simulator.holds(clause)) for clause in clauses)

    def _view(self, camera: str | Camera, size: int, poses: Array, half_extents: Array) -> _View:
        image, depth = draw_picture(self.simulator, camera=camera, size=size)
        instances = self._owner[draw_geoms(self.simulator, camera=camera, size=size)]
        intrinsics, world_to_camera = camera_matrices(self.simulator, camera=camera, size=size)
        corners = [box_corners(p, half_extents=h) for p, h in zip(poses, half_extents, strict=True)]
        rectangles = [_rectangle(apply(world_to_camera, points=c), intrinsics, size) for c in corners]
        return _View(
            image=image,
            depth=depth,
            instances=instances,
            visible=self._visible(camera, size, instances, rectangles),
            intrinsics=intrinsics,
            world_to_camera=world_to_camera,
        )

    def _visible(self, camera: str | Camera, size: int, instances: Array, rectangles: list[Array]) -> Array:
        """Visible pixels of each object divided by its pixels when nothing else is drawn, (O,) float32. Exact.

        Objects whose outlines cannot touch in the picture are drawn in one pass, which hides nothing of any of them.
        """
        seen = self._pixels(instances)
        alone = np.zeros(len(self.objects))
        for group in _disjoint_groups(rectangles, [int(o) for o in np.flatnonzero(seen)]):
            with only(self.simulator, geoms=np.any([self.objects[o].geoms for o in group], axis=0)):
                drawn = self._owner[draw_geoms(self.simulator, camera=camera, size=size)]
            alone[group] = self._pixels(drawn)[group]
        return np.asarray(seen / np.maximum(np.maximum(alone, seen), 1), dtype=np.float32)

    def _pixels(self, instances: Array) -> Array:
        """Pixels (O,) of every object, its parts included."""
        counts = np.bincount(instances.ravel(), minlength=len(self.objects) + 1)
        return np.asarray(self._members @ counts)


@dataclass(frozen=True, kw_only=True, eq=False)
class _View:
    """One camera's share of a scene, physical until mirrored."""

    image: Array
    depth: Array
    instances: Array
    visible: Array
    intrinsics: Array
    world_to_camera: Array

    def mirrored(self) -> _View:
        intrinsics = self.intrinsics.copy()
        intrinsics[0, 2] = self.image.shape[1] - intrinsics[0, 2]
        return _View(
            image=self.image[:, ::-1],
            depth=self.depth[:, ::-1],
            instances=self.instances[:, ::-1],
            visible=self.visible,
            intrinsics=intrinsics,
            world_to_camera=_FLIP_X @ self.world_to_camera @ _FLIP_Y,
        )


def camera_matrices(simulator: Simulator, *, camera: str | Camera, size: int) -> tuple[Array, Array]:
    """Physical intrinsics (3,3) in pixels and world-to-camera transform (4,4), OpenCV axes, of a camera."""
    if isinstance(camera, Camera):
        intrinsics = intrinsics_from_fovy(camera.fovy_deg, width=size, height=size)
        return intrinsics, invert_rigid(camera.camera_to_world)
    model, data = simulator.sim.model._model, simulator.sim.data._data
    number = camera_number(simulator, name=camera)
    rotation = data.cam_xmat[number].reshape(3, 3) @ OPENCV_FROM_OPENGL
    camera_to_world = rigid(rotation, translation=data.cam_xpos[number])
    return intrinsics_from_fovy(float(model.cam_fovy[number]), width=size, height=size), invert_rigid(camera_to_world)


def _rectangle(corners: Array, intrinsics: Array, size: int) -> Array:
    """Bounds (u0, v0, u1, v1) of a box in the picture, a pixel wider; everything when the box passes the camera."""
    if corners[:, 2].min() < _NEAR:
        return np.array([-np.inf, -np.inf, np.inf, np.inf])
    pixels = project(corners, intrinsics=intrinsics)
    return np.concatenate([pixels.min(axis=0) - 1, pixels.max(axis=0) + 1])


def _disjoint_groups(rectangles: list[Array], objects: list[int]) -> list[list[int]]:
    """The objects split greedily into groups within which no two rectangles meet."""
    groups: list[list[int]] = []
    for item in objects:
        home = next((g for g in groups if not any(_meet(rectangles[item], rectangles[o]) for o in g)), None)
        if home is None:
            groups.append([item])
        else:
            home.append(item)
    return groups


def _meet(a: Array, b: Array) -> bool:
    return bool((a[:2] < b[2:]).all() and (b[:2] < a[2:]).all())
