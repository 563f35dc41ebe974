"""What a teacher is shown and asked: the pictures, the bird's-eye view, the objects' places, and the question."""

from __future__ import annotations

import base64
from typing import Any

from vst_vla.envs.qa.base import QAItem
from vst_vla.envs.qa.bird_view import bird_view
from vst_vla.envs.qa.encoding import encode_png
from vst_vla.envs.qa.layout import Layout, point_text
from vst_vla.envs.qa.sights import clear_in
from vst_vla.envs.qa.wording import joined
from vst_vla.vla.contracts import Array

_SYSTEM = (
    "You write the reasoning that a student will learn from. You see the student's pictures and, as help that the "
    "student does not have, a drawing of the scene from above and the exact places of its objects. Reason as if from "
    "the pictures alone and never mention that help: say what each picture shows, how the camera changed between "
    "pictures, how everything lies together in one layout, which frame of reference the question uses, and what "
    "follows. Reply with <think>your reasoning</think> and directly after it the bare answer in the form that the "
    "question asks for."
)


def teacher_messages(item: QAItem, *, layout: Layout) -> list[dict[str, Any]]:
    """A chat in OpenAI's form: a system turn and one user turn of texts and pictures (PNG as data addresses)."""
    parts: list[dict[str, Any]] = []
    for number, image in enumerate(item.images, start=1):
        parts += [_text(f"Picture {number}:"), _image(image)]
    parts += [_text("Help: the scene from above, drawn with the view of picture 1 pointing up.")]
    parts.append(_image(bird_view(layout)))
    parts.append(_text(f"Help: places in meters, as (right, ahead) of the camera of picture 1:\n{object_list(layout)}"))
    parts.append(_text(f"Question: {item.question}"))
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": parts}]


def object_list(layout: Layout) -> str:
    """A line for each object of the map, with its place, its size and the pictures that show it; then the cameras."""
    lines = [_object_line(layout, number) for number in layout.numbers]
    for place in range(len(layout.views)):
        facing = point_text(layout.heading(place)[:2])
        lines.append(f"- {layout.camera_name(place)}: {point_text(layout.eye(place))}, looking along {facing}")
    return "\n".join(lines)


def _object_line(layout: Layout, number: int) -> str:
    sides = " x ".join(f"{2 * half:.2f}" for half in layout.scene.half_extents[number])
    shown = [str(p + 1) for p in range(len(layout.views)) if number in [s.number for s in clear_in(layout, p)]]
    where = f"shown in picture {joined(shown)}"
    return f"- {layout.name(number)}: {point_text(layout.spot(number))}, box of {sides} m, {where}"


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(image: Array) -> dict[str, Any]:
    address = f"data:image/png;base64,{base64.b64encode(encode_png(image)).decode()}"
    return {"type": "image_url", "image_url": {"url": address}}
