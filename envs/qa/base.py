"""One spatial question with its answer, what a family of questions is, and what it is given.

Letters in shapes: H/W pixels, K cameras, T frames, O objects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from vst_vla.envs.qa.encoding import Encoder, encode_video
from vst_vla.vla.contracts import Array, SceneState

LEVELS = ("L0", "L1", "L2", "L3")
"""HiSpatial's levels (arXiv 2603.25411): L0 geometric perception (points and pixels), L1 one object (size, box,
orientation, distance from the camera), L2 relations of two or more objects (order, distance, direction), L3 abstract
(perspective taking, motion of the viewer, plans)."""

THINKING_LEVELS = ("L2", "L3")
"""Levels whose questions gain from reasoning aloud; perception is answered directly (SpatialTree, arXiv 2512.20617)."""

PICTURES, BOXES, VIDEO = "mm_qa", "bbox_3d", "video"
"""VST's record types: pictures, pictures whose field of view is unified because 3-D boxes are asked, one video."""


class Mark(NamedTuple):
    """A point drawn on a picture."""

    name: str  # a colour, a letter or a number
    row: int
    column: int
    image: int = 0  # which of the item's pictures


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """Moments of one episode in the order in which they happened.

    Frames share objects and camera names. A camera of a frame may stand elsewhere than that camera of the next.
    """

    frames: tuple[SceneState, ...]  # (T,)
    times: tuple[float, ...]  # (T,) s since the episode began

    @property
    def fps(self) -> int:
        """Frames a second of a video of this clip: the nearest whole number, at least 1."""
        spans = np.diff(self.times)
        return max(1, round(1 / float(spans.mean()))) if len(spans) else 1

    def images(self, camera: int) -> tuple[Array, ...]:
        """What one camera saw, T pictures (H,W,3)."""
        return tuple(frame.images[camera] for frame in self.frames)


@dataclass(frozen=True, kw_only=True, eq=False)
class QAItem:
    """A question about one or more pictures or about a video, and its exact answer.

    `about` says in plain values what a checker needs to find the answer anew: instance names of objects, cameras,
    frames, points. `contest` holds, for a question with several candidate answers, what each stands for (a name, never
    a letter), the right one first: the engine keeps any candidate from being right more often than it is wrong.
    """

    family: str
    level: str
    kind: str  # PICTURES, BOXES or VIDEO
    question: str  # without picture markers
    answer: str  # with `thinking`, <think>...</think> and then the answer
    images: tuple[Array, ...]  # (H,W,3) uint8; the frames, for a video
    fps: int = 1  # of a video
    thinking: bool = False
    marks: tuple[Mark, ...] = ()
    about: Mapping[str, Any] = field(default_factory=dict)
    contest: tuple[str, ...] = ()
    words: str = ""  # the answer in words, for a question whose `answer` may be a letter
    turns: tuple[tuple[str, str], ...] = ()  # further questions about the same pictures, with their answers

    def to_record(
        self,
        *,
        name: str,
        data_source: str,
        encoder: Encoder | None = None,
        cells: Sequence[Mapping[str, Any]] = (),
    ) -> dict[str, Any]:
        """The row of VST's parquet format; `name` becomes its id, `cells` label its pictures (`qa.cells`)."""
        files = self._files(name, encoder or Encoder())
        marker = "<video>\n" if self.kind == VIDEO else "<image>\n" * len(files)
        turns = [(marker + self.question, self.answer), *self.turns]
        return {
            "conversations": [
                {"from": speaker, "value": value}
                for turn in turns
                for speaker, value in zip(("human", "gpt"), turn, strict=True)
            ],
            "id": name,
            "data_source": data_source,
            "images": files,
            "type": f"thought_{self.kind}" if self.thinking else self.kind,
            "meta_info": json.dumps(self._meta(len(files), cells)),
        }

    def _files(self, name: str, encoder: Encoder) -> list[dict[str, Any]]:
        if self.kind == VIDEO:
            return [{"bytes": encode_video(self.images, fps=self.fps), "path": f"{name}.mp4"}]
        return [{"bytes": encoder.png(image), "path": f"{name}_{n}.png"} for n, image in enumerate(self.images)]

    def _meta(self, num_files: int, cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """VST's entry for each picture (-1: keep its size), and what kind of question this is with the first."""
        sizes = [image.shape[:2] for image in self.images[:num_files]]
        meta: list[dict[str, Any]] = [
            {"width": width, "height": height, "resized_width": -1, "resized_height": -1} for height, width in sizes
        ]
        meta[0] |= {"family": self.family, "level": self.level, "thinking": self.thinking, "about": dict(self.about)}
        meta[0] |= {"marks": [list(mark) for mark in self.marks]}
        for entry, labels in zip(meta, cells, strict=False):  # a film has none
            entry["cells"] = labels
        return meta


class Family(Protocol):
    """A family of questions: a pure function of what it is given and of a random generator.

    What a scene does not allow is left out, and then fewer items than asked for come back, or none. The class says
    by what name a mixture calls it, which level it has, and whether it asks about scenes or about clips.
    """

    name: ClassVar[str]
    level: ClassVar[str]

    @property
    def short_prompt(self) -> bool:
        """Whether questions keep to one line, for tiny backbones."""
        ...


class SceneFamily(Family, Protocol):
    """Asks about one moment, seen by one or several cameras."""

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> Sequence[QAItem]:
        """At most `count` items about the scene. The same generator state gives the same items."""
        ...


class ClipFamily(Family, Protocol):
    """Asks about several moments of an episode: its class attribute `takes_clips` is true."""

    takes_clips: ClassVar[bool]

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> Sequence[QAItem]:
        """At most `count` items about the clip. The same generator state gives the same items."""
        ...


def takes_clips(family: Any) -> bool:
    """Whether a family, or its class, asks about clips rather than about single moments."""
    return bool(getattr(family, "takes_clips", False))


def thinks(family: Any) -> bool:
    """Whether the answers of a family, or its class, hold a reasoning before the answer itself."""
    return bool(getattr(family, "thinks", False))
