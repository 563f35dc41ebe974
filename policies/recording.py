"""What an episode leaves: a recording when it succeeded, a failure with a film of it when it did not.

Letters: T frames. Frame t holds what was seen before the action of frame t.
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vst_vla.envs.cells import CellReader
from vst_vla.envs.libero import LiberoEnv
from vst_vla.envs.simulator import CAMERAS, Simulator
from vst_vla.envs.snapshot import Snapshot, draw_snapshots, show_snapshots, take_snapshot
from vst_vla.envs.suites import CONTROL_HZ
from vst_vla.envs.video import VideoWriter
from vst_vla.vla.contracts import IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, Array, geometry_key

NO_OP_NORM = 1e-4
PNG_LEVEL = 1  # fast; a third larger than the default
FILM_STRIDE = 4  # every fourth frame
FILM_SIZE = 256


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """A successful episode, ready to be staged."""

    task: str
    task_id: int
    init_state: int | None  # number of the official initial state it started from; None for one of its own
    tries: int  # episodes run until one succeeded
    steps: int  # control steps executed, dropped no-ops included
    states: Array  # (T, 8) float32
    actions: Array  # (T, 7) float32, without noise
    images: dict[str, list[bytes]]  # T PNG files a camera
    labels: dict[str, Array] = field(default_factory=dict)  # (T, G, G, 5) int16 a camera, where they were asked for
    classes: tuple[str, ...] = ()  # what the numbers of the labels' classes mean in this scene
    variation: dict[str, Any] = field(default_factory=dict)  # how the scene differs from the official one
    source: str = ""  # the demonstration that was replayed


@dataclass(frozen=True, kw_only=True, eq=False)
class Failure:
    """An episode that did not succeed; nothing of it enters the data set."""

    task_id: int
    tries: int  # episodes run, none of which succeeded
    reason: str  # a sentence without its full stop
    film: bytes = b""  # an MP4 of the last of them, when there is one


Outcome = Recording | Failure


class Job(Protocol):
    """One episode to record, as plain data that any process can be sent."""

    @property
    def task_id(self) -> int:
        """Number of its task in the suite."""
        ...

    def run(self, env: LiberoEnv) -> Outcome:
        """Records it in its task's environment, which draws no pictures by itself."""
        ...


class Recorder:
    """The frames of one episode, kept as snapshots and drawn only when the episode turned out to be wanted."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._states: list[Array] = []
        self._actions: list[Array] = []
        self._snapshots: list[Snapshot] = []

    @property
    def last_action(self) -> Array | None:
        """That of the last frame."""
        return self._actions[-1] if self._actions else None

    @property
    def states(self) -> Array:
        """(T, 8) float32."""
        return np.stack(self._states).reshape(-1, LIBERO_STATE.dim)

    @property
    def actions(self) -> Array:
        """(T, 7) float32."""
        return np.stack(self._actions).reshape(-1, LIBERO_ACTION.dim)

    def add(self, state: Array, action: Array) -> None:
        """Keeps the present moment as a frame; call it before the action is executed."""
        self._states.append(state)
        self._actions.append(action)
        self._snapshots.append(take_snapshot(self._simulator))

    def draw(self, *, size: int) -> dict[str, list[bytes]]:
        """Every frame's pictures as PNG files, by camera."""
        images: dict[str, list[bytes]] = {key: [] for key in IMAGE_KEYS}
        for pictures in draw_snapshots(self._simulator, self._snapshots, cameras=CAMERAS, size=size):
            for key, picture in zip(IMAGE_KEYS, pictures, strict=True):
                images[key].append(encode_png(picture))
        return images

    def label(self) -> tuple[dict[str, Array], tuple[str, ...]]:
        """Every frame's labels (T, G, G, 5) by key, and the classes that they number; see `envs.cells`."""
        reader = CellReader(self._simulator)
        views: list[list[Array]] = [[] for _ in CAMERAS]
        for _ in show_snapshots(self._simulator, self._snapshots):
            for view, camera in zip(views, CAMERAS, strict=True):
                view.append(reader.read(camera))
        keys = map(geometry_key, IMAGE_KEYS)
        return {key: np.stack(view) for key, view in zip(keys, views, strict=True)}, reader.classes

    def film(self) -> bytes:
        """An MP4 of the agent view, in real time; empty when there is no frame."""
        if not self._snapshots:
            return b""
        with tempfile.TemporaryDirectory() as folder:
            with VideoWriter(Path(folder) / "film.mp4", fps=CONTROL_HZ / FILM_STRIDE) as writer:
                for picture in self._agent_view():
                    writer.add(picture)
            return writer.path.read_bytes()

    def _agent_view(self) -> Iterator[Array]:
        chosen = self._snapshots[::FILM_STRIDE]
        return (view for (view,) in draw_snapshots(self._simulator, chosen, cameras=CAMERAS[:1], size=FILM_SIZE))


def is_no_op(action: Array, *, previous: Array | None) -> bool:
    """Whether an action (7,) neither moves the hand nor changes the gripper's command; such frames are dropped."""
    gripper_kept = previous is not None and previous[6] == action[6]
    return gripper_kept and float(np.linalg.norm(action[:6])) < NO_OP_NORM


def encode_png(picture: Array) -> bytes:
    """A picture (H, W, 3) uint8 as a PNG file's bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, format="PNG", compress_level=PNG_LEVEL)
    return buffer.getvalue()
