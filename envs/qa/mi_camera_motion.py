"""Camera motion: how the camera moved from picture 1 to picture 2, while nothing else did.

Both pictures have one lens, as those of one moving camera. Four forms. *move*: the axis of the first camera along which
it mostly moved, which is `MIN_RATIO` times as much as along any other. *clock*: the hour towards which it moved, seen
from above, twelve being where it looked. *turn*: whether its direction turned left or right, by at least
`MIN_TURN_DEG`. *tilt*: whether it looks down more or less steeply, by at least `MIN_TILT_DEG`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.geometry import apply
from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.choices import lettered, some
from vst_vla.envs.qa.directions import CLOCK, bearing, level_length, named
from vst_vla.envs.qa.options import fair_draw, with_options
from vst_vla.envs.qa.pairs import Pair, faces_somewhere, forward, pairs_of, position
from vst_vla.envs.qa.wording import choose, joined
from vst_vla.vla.contracts import SceneState

MIN_STEP = 0.1
"""Metres moved, at least."""
MIN_RATIO = 1.3
MIN_TURN_DEG, MAX_TURN_DEG = 15.0, 150.0
MIN_TILT_DEG = 8.0

MOVES = ("right", "left", "down", "up", "forward", "backward")
"""Along x, y and z of the first camera: positive, negative."""
_AHEAD = (*CLOCK[9:], *CLOCK[:4])
_BEHIND = tuple(hour for hour in CLOCK if hour not in _AHEAD)
"""Hours before the camera and behind it: it keeps the scene in view, so it hardly ever moves backwards. Options of one
question are all of one kind."""
_OPPOSITE = {"left": "right", "right": "left", "more steeply": "less steeply", "less steeply": "more steeply"}
_NUM_OTHERS = 3
_SAME_SCENE = "The camera moved between picture 1 and picture 2."
QUESTIONS = {
    "move": (
        "In which direction did the camera mainly move from picture 1 to picture 2?",
        "Along its own axes in picture 1, which way did the camera go most on its way to picture 2?",
        "Which motion of the camera leads from the first picture to the second?",
    ),
    "clock": (
        "If picture 1 looks towards 12 o'clock, towards which hour did the camera move, seen from above?",
        "Seen from above, the camera of picture 1 faces 12 o'clock. Towards which hour was it carried for picture 2?",
    ),
    "turn": (
        "Did the camera turn to the left or to the right between picture 1 and picture 2?",
        "Seen from above, did the camera's direction of view turn left or right from picture 1 to picture 2?",
    ),
    "tilt": (
        "Does picture 2 look down at the scene more steeply or less steeply than picture 1?",
        "Compared with picture 1, is the camera of picture 2 tilted downward more steeply or less steeply?",
    ),
}
"""Form -> wordings, the plainest first."""


@dataclass(frozen=True, kw_only=True)
class CameraMotion:
    """Asks for a direction of motion: a word, or an hour by letter.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "mi_camera_motion"
    level: ClassVar[str] = "L3"

    short_prompt: bool = False

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none without two cameras of one lens that share objects."""
        pairs = [pair for pair in pairs_of(scene) if pair.has_one_lens]
        answers = {
            form: [(a, pair) for pair in pairs if (a := find(pair)) is not None] for form, find in FINDERS.items()
        }
        forms = [form for form, cases in answers.items() if cases]
        drawn = [forms[int(rng.integers(len(forms)))] for _ in range(count if forms else 0)]
        return [self._item(form, answers[form], rng) for form in drawn]

    def _item(self, form: str, cases: Sequence[tuple[str, Pair]], rng: np.random.Generator) -> QAItem:
        answer, pair = fair_draw(cases, rng=rng)
        question = f"{_SAME_SCENE} {choose(QUESTIONS[form], rng=rng, short=self.short_prompt)}"
        others: Sequence[str] = (_OPPOSITE[answer],) if form in ("turn", "tilt") else ()
        told = answer
        if form == "move":
            others = some(MOVES, count=_NUM_OTHERS, without=answer, rng=rng)
        if form == "clock":
            others = some(_AHEAD if answer in _AHEAD else _BEHIND, count=_NUM_OTHERS, without=answer, rng=rng)
        if form in ("move", "clock"):
            choices = lettered(answer, others=others, rng=rng)
            question, told = with_options(question, choices, short=self.short_prompt), choices.letter
        elif not self.short_prompt:
            question += f" Answer with {joined(sorted((answer, *others)), word='or')}."
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question,
            answer=told,
            images=(pair.first.image, pair.second.image),
            about={"cameras": pair.names, "form": form},
            contest=tuple(f"{word}, {form}" for word in (answer, *others)),
            words=answer,
        )


def main_move(pair: Pair) -> str | None:
    """The one of `MOVES` that leads from the first camera to the second; None when it is not clear."""
    step = apply(pair.first.world_to_camera, points=position(pair.second))
    order = np.argsort(-np.abs(step))
    most, next_most = (abs(float(step[axis])) for axis in order[:2])
    if most < MIN_STEP or most < MIN_RATIO * next_most:
        return None
    return MOVES[2 * int(order[0]) + int(step[order[0]] < 0)]


def _hour(pair: Pair) -> str | None:
    step = position(pair.second) - position(pair.first)
    if not faces_somewhere(pair.first) or level_length(step) < MIN_STEP:
        return None
    return named(bearing(forward(pair.first), to=step), dial=CLOCK)


def _turn(pair: Pair) -> str | None:
    if not (faces_somewhere(pair.first) and faces_somewhere(pair.second)):
        return None
    clockwise = bearing(forward(pair.first), to=forward(pair.second))
    turned = min(clockwise, 360.0 - clockwise)
    if not MIN_TURN_DEG <= turned <= MAX_TURN_DEG:
        return None
    return "right" if clockwise < 180.0 else "left"


def _tilt(pair: Pair) -> str | None:
    first, second = (math.degrees(math.asin(-float(forward(view)[2]))) for view in (pair.first, pair.second))
    if abs(second - first) < MIN_TILT_DEG:
        return None
    return "more steeply" if second > first else "less steeply"


FINDERS: dict[str, Callable[[Pair], str | None]] = {"move": main_move, "clock": _hour, "turn": _turn, "tilt": _tilt}
"""Form -> the right answer; None when it is not clear."""
