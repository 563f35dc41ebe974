"""Moments of a scene recomputed from its flat MuJoCo state: places, boxes, cameras, masks, depths, pictures.

Only MuJoCo and LIBERO's tables are used, nothing of the code that makes questions. Where a camera stands that no model
holds cannot follow from the state: it is taken from the scene, and `Moment.picture` shows whether the picture agrees.
In a mirrored scene places are told with y negated, and pictures are flipped, so that left and right fit the pictures.

Letters in shapes: N points, H/W pixels.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import mujoco
import numpy as np

from qa_truth.things import Box, box_around, geom_points, hull_of, read_things


@dataclass(frozen=True)
class Eye:
    """A camera: its place (3,), its right, down and forward directions as rows (3,3), pixels of focal length."""

    place: np.ndarray
    axes: np.ndarray
    focal: float
    size: int

    def sees(self, points):
        """Points (..., 3) in the camera's axes."""
        return (points - self.place) @ self.axes.T

    def project(self, seen):
        """Column and row (..., 2) of points (..., 3) in the camera's axes."""
        return self.size / 2 + self.focal * seen[..., :2] / seen[..., 2:]

    def point(self, row, column, depth):
        """What a pixel at a depth shows: a place (3,)."""
        x, y = (np.array([column, row]) + 0.5 - self.size / 2) / self.focal
        return self.place + depth * np.array([x, y, 1.0]) @ self.axes

    @property
    def forward(self):
        return self.axes[2]


class World:
    """One task's model with a drawing board of its own.

    Args:
        simulator: the scene; only its model, its tables and its OpenGL context are used.
        size: height and width of pictures in pixels.
    """

    def __init__(self, simulator, *, size):
        self.simulator = simulator
        self.model = simulator.sim.model._model
        self.size = size
        self.things = read_things(simulator)
        gripper = simulator.problem.robots[0].gripper
        self.grip_site = self.model.site(f"{gripper.naming_prefix}grip_site").id
        pads = (gripper.important_geoms["left_finger"], gripper.important_geoms["right_finger"])
        self.fingers = [{self.model.geom(geom).id for geom in pad} for pad in pads]
        self.board = mujoco.MjvScene(self.model, maxgeom=4 * self.model.ngeom)
        self.option = mujoco.MjvOption()
        self.option.geomgroup[0] = 0
        # LIBERO shows a stove's burner while its knob is turned by half a radian or more; no MuJoCo state holds that.
        names = [self.model.site(i).name for i in range(self.model.nsite)]
        stoves = [name.removesuffix("_burner") for name in names if name.endswith("_burner")]
        self.burners = [
            (self.model.site(f"{stove}_burner").id, self.model.joint(f"{stove}_button").qposadr[0]) for stove in stoves
        ]
        self._outlines = {}  # thing -> its points (N,3) in its root's frame, if stiff
        self._boxes = {}

    def moment(self, scene):
        return Moment(self, scene)

    def outline(self, thing, data):
        """Points (N,3) in the root's frame that span a thing."""
        if thing.name not in self._outlines or not thing.is_stiff:
            clouds = [
                data.geom_xpos[geom] + geom_points(self.model, geom) @ data.geom_xmat[geom].reshape(3, 3).T
                for geom in thing.geoms
            ]
            local = (np.concatenate(clouds) - data.xpos[thing.root]) @ data.xmat[thing.root].reshape(3, 3)
            self._outlines[thing.name] = hull_of(local)
        return self._outlines[thing.name]

    def box(self, thing, data):
        """The thing's box in its root's frame."""
        if thing.name not in self._boxes or not thing.is_stiff:
            self._boxes[thing.name] = box_around(self.outline(thing, data))
        return self._boxes[thing.name]

    def light_burners(self, data):
        """Shows the burners that are lit in a state."""
        for site, knob in self.burners:
            self.model.site_rgba[site, 3] = 1.0 if data.qpos[knob] >= 0.5 else 0.0

    def drawn(self):
        """Colours (H,W,3) and depth buffer (H,W), 0 near and 1 far, of what is on the board."""
        self.simulator._ensure_context()
        context = self.simulator.sim._render_context_offscreen
        context.gl_ctx.make_current()
        colours, depth = np.empty((self.size, self.size, 3), np.uint8), np.empty((self.size, self.size), np.float32)
        frame = mujoco.MjrRect(0, 0, self.size, self.size)
        mujoco.mjr_render(frame, self.board, context.con)
        mujoco.mjr_readPixels(colours, depth, frame, context.con)
        return colours[::-1], depth[::-1]


class Moment:
    """One moment."""

    def __init__(self, world, scene):
        self.world, self.scene, self.mirrored = world, scene, scene.mirrored
        self.things = world.things
        self.data = mujoco.MjData(world.model)
        nq = world.model.nq
        self.data.qpos[:], self.data.qvel[:] = scene.state[1 : 1 + nq], scene.state[1 + nq :]
        mujoco.mj_forward(world.model, self.data)
        self._drawn = {}

    def thing(self, name):
        return self.things[name]

    def called(self, category):
        """The one whole thing of that name."""
        (found,) = [thing for thing in self.things.values() if thing.category == category and not thing.is_part]
        return found

    def wholes(self):
        return [thing for thing in self.things.values() if not thing.is_part]

    def told(self, points):
        """Places (..., 3) of MuJoCo's world as this scene tells them."""
        return points * np.array([1, -1, 1]) if self.mirrored else points

    def points(self, thing):
        """The thing's outline (N,3)."""
        return self._placed(thing, self.world.outline(thing, self.data))

    def box(self, thing):
        box = self.world.box(thing, self.data)
        return Box(self._placed(thing, box.corners), box.sides, box.is_round)

    def middle(self, thing):
        """The middle (3,) of its box."""
        return self.box(thing).middle

    def _placed(self, thing, local):
        root = self.data.xmat[thing.root].reshape(3, 3)
        return self.told(self.data.xpos[thing.root] + local @ root.T)

    @cached_property
    def grip(self):
        """The point (3,) between the fingers."""
        return self.told(self.data.site_xpos[self.world.grip_site])

    def held(self):
        """Names of the things that both fingers touch, of a thing with moving parts the part."""
        model, touched = self.world.model, []
        for finger in self.world.fingers:
            pairs = [set(map(int, contact.geom)) for contact in self.data.contact if contact.dist < 0]
            touched.append({int(model.geom_bodyid[g]) for pair in pairs if pair & finger for g in pair - finger})
        both = touched[0] & touched[1]
        moving = [thing for thing in self.things.values() if not thing.name.endswith("_handle")]
        within = [thing for thing in moving if self._bodies(thing) & both]
        parted = {thing.whole for thing in within if thing.is_part}
        return [thing.name for thing in within if thing.name not in parted]

    def _bodies(self, thing):
        parents, inside = self.world.model.body_parentid, {thing.root}
        for body in range(thing.root + 1, self.world.model.nbody):
            if parents[body] in inside:
                inside.add(body)
        return inside

    def eye(self, camera):
        """A camera as this scene tells it."""
        place, axes, fovy = self._physical(camera)
        axes = axes * np.array([1, -1, 1]) * np.array([[-1], [1], [1]]) if self.mirrored else axes
        return Eye(self.told(place), axes, self.world.size / 2 / math.tan(fovy / 2), self.world.size)

    def _physical(self, camera):
        """Place (3,), right, down, forward (3,3) in MuJoCo's world, vertical field of view in rad."""
        model = self.world.model
        if camera in [model.camera(number).name for number in range(model.ncam)]:
            number = model.camera(camera).id
            right, up, back = self.data.cam_xmat[number].reshape(3, 3).T
            return self.data.cam_xpos[number], np.array([right, -up, -back]), math.radians(model.cam_fovy[number])
        number = self.scene.cameras.index(camera)
        axes, shift = np.split(self.scene.world_to_camera[number][:3], [3], axis=1)
        place = self.told(-axes.T @ shift[:, 0])
        axes = axes * np.array([1, -1, 1]) * np.array([[-1], [1], [1]]) if self.mirrored else axes
        return place, axes, 2 * math.atan(self.world.size / 2 / self.scene.intrinsics[number][1, 1])

    def mask(self, camera, thing):
        """Where a camera sees the thing, (H,W) bool."""
        return np.isin(self._draw(camera, "ids"), thing.geoms)

    def pixels(self, camera, thing):
        return int(self.mask(camera, thing).sum())

    def column(self, camera, thing):
        """Mean column of its visible pixels, their middles."""
        return float(np.nonzero(self.mask(camera, thing))[1].mean()) + 0.5

    def depth(self, camera):
        """Metres (H,W) along the view."""
        return self._draw(camera, "depth")

    def picture(self, camera):
        """Own drawing (H,W,3) of what the camera sees."""
        return self._draw(camera, "colour")

    def alone(self, camera, thing):
        """The mask (H,W) if nothing else were there."""
        groups = self.world.model.geom_group
        before = groups.copy()
        groups[np.isin(np.arange(len(groups)), thing.geoms, invert=True)] = 5
        try:
            return np.isin(self._render(camera, "ids"), thing.geoms)
        finally:
            groups[:] = before

    def _draw(self, camera, kind):
        if (camera, kind) not in self._drawn:
            self._drawn[camera, kind] = self._render(camera, kind)
        return self._drawn[camera, kind]

    def _render(self, camera, kind):
        board, (place, axes, fovy) = self.world.board, self._physical(camera)
        self.world.light_burners(self.data)
        mujoco.mjv_updateScene(
            self.world.model, self.data, self.world.option, None, mujoco.MjvCamera(), mujoco.mjtCatBit.mjCAT_ALL, board
        )
        for lens in board.camera:
            lens.pos, lens.forward, lens.up = place, axes[2], -axes[1]
            lens.frustum_top = lens.frustum_near * math.tan(fovy / 2)
            lens.frustum_bottom, lens.frustum_center = -lens.frustum_top, 0.0
        for light in board.lights[: board.nlight]:
            if light.headlight:
                light.pos, light.dir = place, axes[2]
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            board.flags[flag] = kind == "colour"
        board.flags[mujoco.mjtRndFlag.mjRND_SEGMENT] = kind == "ids"
        board.flags[mujoco.mjtRndFlag.mjRND_IDCOLOR] = kind == "ids"
        colours, buffer = self.world.drawn()
        near, far = board.camera[0].frustum_near, board.camera[0].frustum_far
        drawn = {
            "colour": lambda: colours,
            "depth": lambda: near * far / (far - buffer * (far - near)),
            "ids": lambda: self._geoms(colours),
        }[kind]()
        return drawn[:, ::-1] if self.mirrored else drawn

    def _geoms(self, colours):
        """Geom ids (H,W), -1 where there is none, out of the colours that number what is on the board."""
        board = self.world.board
        numbered = {g.segid + 1: g.objid for g in board.geoms[: board.ngeom] if g.objtype == mujoco.mjtObj.mjOBJ_GEOM}
        table = np.array([numbered.get(number, -1) for number in range(board.ngeom + 1)])
        return table[(colours.astype(int) * [1, 256, 65536]).sum(axis=-1)]
