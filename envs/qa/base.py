"""One spatial question with its answer, and what a family of questions is.

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from PIL import Image

from vst_vla.envs.geometry import apply, project
from vst_vla.vla.contracts import Array, SceneState

LEVELS = ("L0", "L1", "L2", "L3")
"""What a question asks of the mind: L0 perception (what a picture shows directly), L1 mapping (relations among several
things or views), L2 simulation (a view or a motion that is not shown), L3 action (what to do)."""


@dataclass(frozen=True, kw_only=True, eq=False)
class QAItem:
    """A question about one or more pictures, and its exact answer.

    `kind` is VST's record type: "bbox_3d" for 3-D boxes (whose pictures get their field of view unified), "mm_qa" else.
    """

    family: str
    level: str
    kind: str
    question: str
    answer: str  # with `thinking`, <think>...</think> and then the answer
    images: tuple[Array, ...]  # (H,W,3) uint8
    thinking: bool = False
    marks: tuple[tuple[str, int, int], ...] = ()  # drawn points: name, row, column

    def to_record(self, *, name: str, data_source: str) -> dict[str, Any]:
        """The row of VST's parquet format; `name` becomes its id."""
        pictures = [
            {"bytes": encode_png(image), "path": f"{name}_{number}.png"} for number, image in enumerate(self.images)
        ]
        return {
            "conversations": [
                {"from": "human", "value": "<image>\n" * len(pictures) + self.question},
                {"from": "gpt", "value": self.answer},
            ],
            "id": name,
            "data_source": data_source,
            "images": pictures,
            "type": f"thought_{self.kind}" if self.thinking else self.kind,
            "meta_info": json.dumps(self._meta()),
        }

    def _meta(self) -> list[dict[str, Any]]:
        """VST's entry for each picture (-1: keep its size), and what kind of question this is with the first."""
        sizes = [image.shape[:2] for image in self.images]
        meta: list[dict[str, Any]] = [
            {"width": width, "height": height, "resized_width": -1, "resized_height": -1} for height, width in sizes
        ]
        meta[0] |= {"family": self.family, "level": self.level, "thinking": self.thinking}
        return meta


class Family(Protocol):
    """A family of questions: a pure function of one scene and a random generator.

    A scene holds several cameras, so questions across views fit; what a scene does not allow is left out, and then
    fewer items than asked for come back, or none.
    """

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items about the scene. The same generator state gives the same items."""
        ...


def encode_png(image: Array) -> bytes:
    """A picture (H,W,3) uint8 as PNG; the same picture gives the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(buffer, format="PNG", compress_level=1)
    return buffer.getvalue()


def spoken_list(names: list[str]) -> str:
    """Names in a sentence: the milk, the butter and the basket."""
    phrases = [f"the {name}" for name in names]
    return phrases[0] if len(phrases) == 1 else f"{', '.join(phrases[:-1])} and {phrases[-1]}"


def clear_instances(scene: SceneState, *, camera: int, min_visible: float, min_pixels: int) -> dict[str, list[int]]:
    """Category -> its objects in view of a camera, where no doubt is possible.

    An object is clear when enough of it is seen and its box centre lies inside the picture. A category is left out when
    one of its objects is in view but not clear.
    """
    pixels = np.bincount(scene.instances[camera].ravel(), minlength=scene.num_objects + 1)[1:]
    clear = (scene.visible[camera] >= min_visible) & (pixels >= min_pixels) & _centred(scene, camera)
    found: dict[str, list[int]] = {}
    for number, category in enumerate(scene.categories):
        if pixels[number]:
            found.setdefault(category, []).append(number)
    return {category: numbers for category, numbers in found.items() if clear[numbers].all()}


def _centred(scene: SceneState, camera: int) -> Array:
    """Which objects' box centres lie inside a camera's picture, (O,) bool."""
    centres = apply(scene.world_to_camera[camera], points=scene.poses[:, :3, 3])
    ahead = centres[:, 2] > 0
    pixels = project(np.where(ahead[:, None], centres, 1.0), intrinsics=scene.intrinsics[camera])
    height, width = scene.images.shape[1:3]
    return ahead & (pixels >= 0).all(axis=1) & (pixels < (width, height)).all(axis=1)
