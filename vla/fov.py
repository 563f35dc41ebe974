"""Field-of-view unification: every picture with 3-D boxes is resized so that all cameras share one focal length.

A box's size in pixels then means its distance, whatever the camera. Boxes stay metric in the camera frame, so only the
picture and the camera line of the prompt change. The rule is VST's (arXiv 2511.05491; https://github.com/Yangr116/VST):

    f* = 960 / (2 tan(69.16 deg / 2)) = 696.3 px
    hfov = 2 atan(W / 2 fx)   vfov = 2 atan(H / 2 fx)           fx serves both axes
    W' = int(2 f* tan(hfov / 2))   H' = int(2 f* tan(vfov / 2))  what the prompt says
    picture: resized (not cropped) to W' x H' rounded to multiples of 28, Qwen's smart_resize

Letters in shapes: H/W pixels.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vst_vla.vla.contracts import Array

BOX_TYPE = "bbox_3d"
"""The record `type` to which unification applies; others keep their picture and their text."""

CAMERA_END = "We take the camera coordinate system as the world coordinate system."
"""Upstream's loader cuts the prompt after this sentence; everything before it is the camera description."""

_NUMBER = r"(\d+(?:\.\d+)?)"
_FOCAL_FORM = re.compile(rf"f_x={_NUMBER}")
_FOV_FORM = re.compile(rf"(hfov=){_NUMBER}(.*?vfov=){_NUMBER}(.*?width=){_NUMBER}( and height=){_NUMBER}", re.DOTALL)
_SHORT_FORM = re.compile(rf"(hfov ){_NUMBER}(, vfov ){_NUMBER}(, )(\d+)(x)(\d+)")


@dataclass(frozen=True, kw_only=True)
class FovTarget:
    """The camera that all pictures are brought to: one `width` pixels wide would see `hfov_deg` degrees.

    The default is VST's. A tiny preset on 112 px pictures of LIBERO's 45 degree agent view takes
    `FovTarget(width=112, hfov_deg=45)`.
    """

    width: int = 960
    hfov_deg: float = 69.16
    multiple: int = 28  # patch times merge, what a side is rounded to
    min_pixels: int = 56 * 56
    max_pixels: int = 4096 * 28 * 28

    @property
    def focal(self) -> float:
        """The common focal length in pixels."""
        return self.width / (2 * math.tan(math.radians(self.hfov_deg) / 2))


@dataclass(frozen=True, kw_only=True)
class Unified:
    """One picture's unification: the angles and size that its prompt states, and the size that it is resized to."""

    hfov_deg: float
    vfov_deg: float
    width: int  # stated, px
    height: int
    resized_width: int  # a multiple of 28, px
    resized_height: int


def unify_size(width: int, *, height: int, focal: float, target: FovTarget) -> Unified:
    """A `width` x `height` px picture taken with `focal` px, brought to the target's focal length.

    Raises:
        ValueError: a focal length or size that is not positive.
    """
    if not (focal > 0 and width > 0 and height > 0):
        raise ValueError(f"camera of {width}x{height} px with focal length {focal}: expected positive numbers")
    hfov, vfov = 2 * math.atan(width / (2 * focal)), 2 * math.atan(height / (2 * focal))
    # The tolerance undoes rounding such as 111.99999999 for 112, nothing more.
    new_width = int(2 * target.focal * math.tan(hfov / 2) + 1e-6)
    new_height = int(2 * target.focal * math.tan(vfov / 2) + 1e-6)
    resized_height, resized_width = smart_resize(max(new_height, 1), width=max(new_width, 1), target=target)
    return Unified(
        hfov_deg=math.degrees(hfov),
        vfov_deg=math.degrees(vfov),
        width=new_width,
        height=new_height,
        resized_width=resized_width,
        resized_height=resized_height,
    )


def smart_resize(height: int, *, width: int, target: FovTarget) -> tuple[int, int]:
    """Qwen2-VL's rule: (height, width) at multiples of 28 within the pixel budget, aspect ratio nearly kept."""
    step = target.multiple
    rounded = round(height / step) * step, round(width / step) * step
    pixels = rounded[0] * rounded[1]
    if target.min_pixels <= pixels <= target.max_pixels:
        return rounded
    if pixels > target.max_pixels:
        shrink = math.sqrt(height * width / target.max_pixels)
        return tuple(max(step, math.floor(s / shrink / step) * step) for s in (height, width))  # type: ignore[return-value]
    grow = math.sqrt(target.min_pixels / (height * width))
    return tuple(math.ceil(s * grow / step) * step for s in (height, width))  # type: ignore[return-value]


def unify_record(record: Mapping[str, Any], *, target: FovTarget) -> dict[str, Any]:
    """The record with its picture resized and its camera line rewritten; unchanged unless its type is "bbox_3d".

    A prompt that states no camera leaves the record as it is, as upstream does.

    Args:
        record: as `SpatialRecords` yields it: `images` (H,W,3) uint8 arrays, `conversations`, `type`.
        target: the common camera.

    Raises:
        ValueError: a "bbox_3d" record without a picture.
    """
    if record["type"] != BOX_TYPE:
        return dict(record)
    unified = unify_camera(record, sizes=[image.shape[:2] for image in record["images"]], target=target)
    if unified is None:
        return dict(record)
    size = unified.resized_height, unified.resized_width
    images = [resize(image, size=size) for image in record["images"]]
    return {**record, "images": images, "conversations": unify_turns(record["conversations"], unified=unified)}


def unify_camera(record: Mapping[str, Any], *, sizes: Sequence[tuple[int, int]], target: FovTarget) -> Unified | None:
    """How the pictures of a "bbox_3d" record, (H, W) each, are brought to the target; None without a stated camera.

    Raises:
        ValueError: a record without a picture.
    """
    if not sizes:
        raise ValueError(f"record '{record.get('id', '?')}' is of type {BOX_TYPE} but carries no picture")
    height, width = sizes[0]
    focal = focal_in_prompt(record["conversations"][0]["value"], width=width)
    return None if focal is None else unify_size(width, height=height, focal=focal, target=target)


def unify_turns(turns: Sequence[Mapping[str, Any]], *, unified: Unified) -> list[dict[str, Any]]:
    """The conversation with the unified camera in its question."""
    question = {**turns[0], "value": rewrite_prompt(turns[0]["value"], unified=unified)}
    return [question, *map(dict, turns[1:])]


def focal_in_prompt(prompt: str, *, width: int) -> float | None:
    """The focal length in px for a picture `width` px wide, from any of the three camera forms; None without one."""
    if (found := _FOCAL_FORM.search(prompt)) and CAMERA_END in prompt:
        return float(found.group(1))
    if found := _FOV_FORM.search(prompt) or _SHORT_FORM.search(prompt):
        return width / (2 * math.tan(math.radians(float(found.group(2))) / 2))
    return None


def rewrite_prompt(prompt: str, *, unified: Unified) -> str:
    """The prompt with angles (degrees, 2 decimals) and the new size in place of what it says about the camera."""
    values = (f"{unified.hfov_deg:.2f}", f"{unified.vfov_deg:.2f}", str(unified.width), str(unified.height))
    for form in (_FOV_FORM, _SHORT_FORM):
        if found := form.search(prompt):
            keys = found.groups()[::2]
            line = "".join(key + value for key, value in zip(keys, values, strict=True))
            return prompt[: found.start()] + line + prompt[found.end() :]
    before, _, rest = prompt.partition(CAMERA_END)
    markers = "<image>\n" * before.count("<image>")
    return f"{markers}{_camera_text(*values)}{rest}"


def _camera_text(hfov: str, vfov: str, width: str, height: str) -> str:
    return (
        f"Camera of this picture: horizontal fov, hfov={hfov}, and vertical fov, vfov={vfov}, in degrees. "
        f"Image width={width} and height={height}. The lens has no distortion.\n"
        f"Camera coordinates: X points right, Y points down, Z points forward; the camera is the origin.\n{CAMERA_END}"
    )


def fit_picture(image: Array, *, target: FovTarget) -> Array:
    """A picture (H,W,3) at the nearest size in multiples of 28 pixels within the target's budget."""
    return resize(image, size=smart_resize(image.shape[0], width=image.shape[1], target=target))


def resize(image: Array, *, size: tuple[int, int]) -> Array:
    """The picture (H,W,3) uint8 at (H, W) = `size`, bicubic; itself when it has that size already."""
    if image.shape[:2] == size:
        return image
    return np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BICUBIC))
