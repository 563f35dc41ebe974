"""Types that every folder shares: observations, conventions as data, the policy protocol, ground truth. Numpy only.

Letters in shapes: N envs, B batch, K cameras, H/W pixels, S state, A action, C chunk, O objects.

The robot sample, from the environment to the model, in LeRobot's key names. Nothing is ever re-packed:

    key                          dtype    shape     range, unit
    observation.images.image     uint8    (H,W,3)   RGB, upright, agent view
    observation.images.image2    uint8    (H,W,3)   RGB, upright, wrist view
    observation.state            float32  (8,)      end effector xyz in m, axis-angle in rad, two finger positions in m
    action                       float32  (7,)      delta xyz, delta axis-angle, gripper (-1 open, +1 close), in [-1, 1]
                                          (C,7)     the same, as an action chunk in training samples
    action_is_pad                bool     (C,)      true where a chunk runs past its episode's end (training only)
    task                         str                the instruction in plain words
    geometry.image, .image2      int16    (G,G,5)   labels of demonstrations, see `CELL_NUMBERS` (training only)

A policy with image history (`history=(8,)`) also looks at what each camera showed 8 control steps before, or as its
episode began where that is later; likewise the labels of it:

    observation.images.image.before8        as observation.images.image
    observation.images.image2.before8       as observation.images.image2
    geometry.image.before8, .image2.before8 as geometry.image
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

IMAGE_KEY = "observation.images.image"
WRIST_IMAGE_KEY = "observation.images.image2"
IMAGE_KEYS = (IMAGE_KEY, WRIST_IMAGE_KEY)
STATE_KEY = "observation.state"
ACTION_KEY = "action"
ACTION_IS_PAD_KEY = "action_is_pad"
TASK_KEY = "task"
MOMENT_KEY = "moment"
STEP_KEY = "step"
"""In what a client sends, int: the control step at which the observation was taken."""
COMMITTED_KEY = "committed_actions"
"""In an observation, (D,A) float32: the actions that run until the reply can be there, which its chunk begins with."""

GRIPPER = "gripper"
"""Among an action's names, the one that opens and closes the hand."""

PICTURE_PREFIX = "observation.images."
GEOMETRY_PREFIX = "geometry."
"""Outside of `observation.`: LeRobot's own policies would take the labels for a state that a robot has."""
CELL_NUMBERS = ("class", "depth", "x", "y", "z")
"""What a label says of one cell of a G x G grid over a picture, upright and mirrored as the picture is: the number of
the class that most of the cell shows (the data set's `meta/vst_vla.json` names them, 0 is the background), and of one
point of it the depth along the camera's z axis and the place in the frame of `observation.state`, in mm. Depth is 0
where nothing is drawn."""

Array = NDArray[Any]
Observation = dict[str, Any]
"""One robot sample without its action, keyed as in the module's table."""


@dataclass(frozen=True, kw_only=True)
class StateSpec:
    """What one state vector means. Compared between data, policy and environment before the first step."""

    names: tuple[str, ...]
    rotation: str

    @property
    def dim(self) -> int:
        """Width of the vector."""
        return len(self.names)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class ActionSpec:
    """What one action vector means. Compared between data, policy and environment before the first step."""

    names: tuple[str, ...]
    low: float
    high: float
    frame: str
    rotation: str
    gripper: str

    @property
    def dim(self) -> int:
        """Width of the vector."""
        return len(self.names)

    @property
    def increments(self) -> tuple[int, ...]:
        """The numbers that command a change of pose, not a place; none where `frame` does not begin with "delta"."""
        if not self.frame.startswith("delta"):
            return ()
        return tuple(i for i, name in enumerate(self.names) if name != GRIPPER)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def check(self, action: Array) -> None:
        """Raises ValueError unless `action` (..., A) is finite, of the spec's width and inside its range."""
        if action.shape[-1:] != (self.dim,):
            raise ValueError(f"action has shape {action.shape}, expected (..., {self.dim}) for {', '.join(self.names)}")
        if not np.isfinite(action).all():
            bad = self.names[int(np.argwhere(~np.isfinite(action))[0][-1])]
            raise ValueError(f"action holds a NaN or infinity in '{bad}': send finite numbers only")
        outside = (action < self.low - 1e-6) | (action > self.high + 1e-6)
        if outside.any():
            where = tuple(np.argwhere(outside)[0])
            raise ValueError(
                f"action '{self.names[int(where[-1])]}' is {action[where]:.4g}, "
                f"expected {self.low:g} to {self.high:g}: clip it, or check the normalisation statistics"
            )

    def clip(self, action: Array) -> Array:
        """The action (..., A) moved inside the spec's range."""
        return np.clip(action, self.low, self.high)


def require_same_spec(
    ours: StateSpec | ActionSpec, theirs: StateSpec | ActionSpec, *, ours_name: str, theirs_name: str
) -> None:
    """Raises ValueError naming the first convention on which two specs differ, with both values."""
    a, b = ours.to_dict(), theirs.to_dict()
    for key, value in a.items():
        if value != b.get(key):
            raise ValueError(f"{key} differs: {ours_name} has {value!r}, {theirs_name} has {b.get(key)!r}")


LIBERO_STATE = StateSpec(
    names=("x", "y", "z", "rx", "ry", "rz", "finger_left", "finger_right"),
    rotation="axis-angle from the xyzw quaternion, no sign canonicalisation, rad",
)
LIBERO_ACTION = ActionSpec(
    names=("dx", "dy", "dz", "drx", "dry", "drz", "gripper"),
    low=-1.0,
    high=1.0,
    frame="delta in the robot base frame; 1 is 0.05 m or 0.5 rad a control step",
    rotation="axis-angle",
    gripper="-1 open, +1 close",
)
STILL_ACTION: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0)
"""No motion, gripper open: what LIBERO's own scripts send while the scene settles."""


@runtime_checkable
class Policy(Protocol):
    """Something that chooses actions in physical units of its `action_spec`."""

    action_spec: ActionSpec

    def infer(self, observation: Observation) -> dict[str, Array]:
        """One observation -> {"actions": (C, A) float32}."""
        ...

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """Many observations at once; the same result as `infer` on each."""
        ...

    def reset(self) -> None:
        """Forgets the running episode."""
        ...


@dataclass(frozen=True, kw_only=True)
class Moment:
    """Where a running episode stands: under `MOMENT_KEY` in the observations of policies that say `reads_moment`."""

    slot: int  # of the episodes that run at a time; a new episode takes the place of one that ended
    task_id: int
    init_state: int
    step: int  # control steps executed, 0 at the start


@dataclass(frozen=True, kw_only=True, eq=False)
class GripperState:
    """The robot's hand in a scene."""

    pose: Array  # (4,4) world, m; the point between the fingers, z axis out of the hand
    opening: float  # m between the fingers
    held: tuple[int, ...]  # objects that both fingers touch


@dataclass(frozen=True, kw_only=True)
class GoalState:
    """One predicate of a task's goal, as its BDDL file has it, and whether it holds."""

    predicate: tuple[str, ...]  # such as ("on", "akita_black_bowl_1", "plate_1")
    holds: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneState:
    """Ground truth of one simulated moment, seen by K cameras.

    World axes are MuJoCo's (z up, metres); with `mirrored`, y is negated, so that the left-right mirrored pictures that
    policies see are ordinary pictures of a right-handed world (`envs/scene.py` has the rule). Cameras are in OpenCV
    axes (x right, y down, z forward). Images, depth and instances are upright; pixel (row r, column c) has its centre
    at (c + 0.5, r + 0.5). `instances` holds 0 for background and robot and o + 1 for object o; a part (a drawer, a
    door, a knob, a handle) is an object of its own, listed after the whole ones, and `mask` joins a whole's parts.
    An object's pose is that of its box: the box centre, with axes along the box sides.
    """

    names: tuple[str, ...]  # (O,) unique instance names, such as "alphabet_soup_1"
    categories: tuple[str, ...]  # (O,) spoken names, such as "alphabet soup"
    poses: Array  # (O,4,4) world, m
    half_extents: Array  # (O,3) m
    visible: Array  # (K,O) float32, visible pixels divided by pixels when nothing else is drawn; 0 when out of view
    cameras: tuple[str, ...]  # (K,)
    images: Array  # (K,H,W,3) uint8
    depth: Array  # (K,H,W) float32, m along the camera's z axis
    instances: Array  # (K,H,W) int16
    intrinsics: Array  # (K,3,3) pixels
    world_to_camera: Array  # (K,4,4)
    task: str
    source: str  # where it came from: suite, task, initial state, step
    state: Array  # (1 + nq + nv,) the flat MuJoCo state that all of it follows from, never mirrored
    gripper: GripperState
    base: Array  # (3,) world, m; where the robot stands
    goals: tuple[GoalState, ...]
    parents: tuple[int, ...]  # (O,) the object that a part belongs to, -1 for whole objects
    round_axes: tuple[int, ...]  # (O,) the box's axis about which the object is round (a can, a plate), -1 without one
    fixed: tuple[bool, ...]  # (O,) whether it stands in one place in every scene of its task (a stove), parts included
    mirrored: bool = False  # left and right as in `Observation`'s pictures, geometry included

    @property
    def num_objects(self) -> int:
        """O."""
        return len(self.names)

    def members(self, number: int) -> list[int]:
        """The object itself and, at any depth, its parts."""
        found = [number]
        for other in range(number + 1, self.num_objects):
            if self.parents[other] in found:
                found.append(other)
        return found

    def mask(self, camera: int, *, number: int) -> Array:
        """Where a camera sees the object, its parts included: (H,W) bool."""
        return np.isin(self.instances[camera], np.array(self.members(number)) + 1)


def geometry_key(picture_key: str) -> str:
    """The key of the labels of a camera's pictures: observation.images.image -> geometry.image."""
    return GEOMETRY_PREFIX + picture_key.removeprefix(PICTURE_PREFIX)


def keys_over_time(key: str, *, history: Sequence[int]) -> tuple[str, ...]:
    """The keys of one camera's pictures, the present one first: key, key.before4, key.before8 for history (4, 8)."""
    return (key, *(f"{key}.before{steps}" for steps in history))


def picture_keys(image_keys: Sequence[str], *, history: Sequence[int]) -> tuple[str, ...]:
    """The keys of all pictures that a policy looks at, in prompt order: the oldest first, the present ones last."""
    times = zip(*(keys_over_time(key, history=history) for key in image_keys), strict=True)
    return tuple(key for seen in reversed(list(times)) for key in seen)


def check_history(history: object) -> None:
    """Raises ValueError unless it lists control steps before the present: whole numbers from 1 on, ascending."""
    steps = list(history) if isinstance(history, list | tuple) else [0]
    if not all(type(step) is int and step > 0 for step in steps) or steps != sorted(set(steps)):
        raise ValueError(
            f"history is {list(history) if isinstance(history, tuple) else history}, expected control steps before the "
            "present, whole numbers from 1 on, ascending: try recipe.history=[8]"
        )


def near_miss(name: str, choices: Iterable[str]) -> str:
    """A hint such as "did you mean 'libero_goal'? choices: ..." for an error message."""
    options = list(choices)
    close = difflib.get_close_matches(name, options, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"{hint}choices: {', '.join(options)}"


def check_names(kind: str, names: Iterable[str], *, choices: Iterable[str]) -> None:
    """Raises ValueError, see `unknown_name`, for the first of the names that is none of the choices."""
    choices = sorted(choices)
    for name in names:
        if name not in choices:
            raise unknown_name(kind, name, choices)


def unknown_name(kind: str, name: str, choices: Iterable[str]) -> ValueError:
    """The error for a name outside a fixed list, with a near-miss hint."""
    return ValueError(f"unknown {kind} '{name}': {near_miss(name, choices)}")
