"""Camera-camera relation: where the camera of picture 2 stands, and looks, as seen from that of picture 1.

Five forms. *side*: on which of eight sides the second camera stands, ahead being where the first one looks, seen from
above. *apart*: metres between them. *turn*: degrees between their directions of view. *nearer*: which one is nearer to
an object's centre, by at least `MIN_LEAD`. *higher*: which one stands higher, by the same lead. Wrong options are what
is right of other pairs of the same scene's cameras, so that none can be ruled out unseen. A lens tells which camera it
is (the hand's is near everything): *turn* does not name the lenses, and *nearer* compares pictures of equal ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, QAItem
from vst_vla.envs.qa.choices import lettered, some
from vst_vla.envs.qa.directions import SIDES, bearing, level_length, named
from vst_vla.envs.qa.options import fair_draw, with_options
from vst_vla.envs.qa.pairs import Pair, faces_somewhere, forward, pairs_of, position
from vst_vla.envs.qa.wording import UNITS, choose, length_text, unit_sentence
from vst_vla.vla.contracts import Array, SceneState

MIN_STEP = 0.15
"""Metres between two cameras, at least; on the level, for sides."""
MIN_TURN_DEG = 15.0
MIN_RATIO = 1.3
"""Between any two of the angles that are offered."""
MIN_LEAD = 0.12
"""Metres by which a camera is nearer or higher."""

_NUM_OTHERS = 3
_PLACES = ("first", "second")
QUESTIONS = {
    "side": (
        "Standing where picture 1 was taken and facing its scene, on which side was picture 2 taken?",
        "Let the camera of picture 1 look ahead. Seen from above, where is the camera of picture 2?",
        "Relative to the viewer of picture 1, in which direction is the viewer of picture 2?",
    ),
    "apart": (
        "How far apart are the two cameras?",
        "What is the straight-line distance between the places from which the pictures were taken?",
        "Estimate the distance from the camera of picture 1 to that of picture 2.",
    ),
    "turn": (
        "By how many degrees do the viewing directions of the two pictures differ?",
        "What is the angle in degrees between the directions in which the two cameras look?",
    ),
    "nearer": (
        "Which picture was taken from closer to the center of the {name}, the first or the second?",
        "Compare the two cameras: is the first or the second one nearer to the center of the {name}?",
    ),
    "higher": (
        "Which picture was taken from higher up, the first or the second?",
        "Compare the heights of the two cameras: is the first or the second one higher?",
    ),
}
"""Form -> wordings, the plainest first."""


@dataclass(frozen=True, kw_only=True)
class CameraRelation:
    """Asks how two cameras stand to each other: by letter, by "first" or "second", or for a length with its unit.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "mi_camera_relation"
    level: ClassVar[str] = "L3"

    short_prompt: bool = False

    def __call__(self, scene: SceneState, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; none when no two cameras show the same objects."""
        pairs = pairs_of(scene)
        forms: dict[str, Callable[[list[Pair], np.random.Generator], QAItem | None]] = {
            "side": self._side,
            "apart": self._apart,
            "turn": self._turn,
            "nearer": self._nearer,
            "higher": self._higher,
        }
        drawn = [sorted(forms)[int(rng.integers(len(forms)))] for _ in range(count if pairs else 0)]
        items = [forms[form](pairs, rng) for form in drawn]
        return [item for item in items if item is not None]

    def _side(self, pairs: list[Pair], rng: np.random.Generator) -> QAItem | None:
        cases = [(answer, pair) for pair in pairs if (answer := side_of(pair)) is not None]
        if not cases:
            return None
        answer, pair = fair_draw(cases, rng=rng)
        others = some(sorted({side for side, _ in cases}), count=_NUM_OTHERS, without=answer, rng=rng)
        if not others:
            return None
        choices = lettered(answer, others=others, rng=rng)
        question = with_options(self._wording("side", rng), choices, short=self.short_prompt)
        return self._make(pair, question, choices.letter, {"form": "side"}, (answer, *others), words=answer)

    def _apart(self, pairs: list[Pair], rng: np.random.Generator) -> QAItem | None:
        pair = pairs[int(rng.integers(len(pairs)))]
        metres = float(np.linalg.norm(_step(pair)))
        if metres < MIN_STEP:
            return None
        unit = sorted(UNITS)[int(rng.integers(len(UNITS)))]
        question = f"{pair.lens_text} {self._wording('apart', rng)} {unit_sentence(unit)}"
        return self._make(pair, question, length_text(metres, unit=unit), {"form": "apart", "unit": unit}, ())

    def _turn(self, pairs: list[Pair], rng: np.random.Generator) -> QAItem | None:
        """One of the scene's angles, the others being options: an angle's size says nothing about which is right."""
        chosen: list[tuple[float, Pair]] = []
        for place in rng.permutation(len(pairs)):
            degrees = turn_between(pairs[int(place)])
            apart = all(max(degrees, other) >= MIN_RATIO * min(degrees, other) for other, _ in chosen)
            if degrees >= MIN_TURN_DEG and apart and len(chosen) <= _NUM_OTHERS:
                chosen.append((degrees, pairs[int(place)]))
        if len(chosen) < 2:
            return None
        degrees, pair = chosen[int(rng.integers(len(chosen)))]
        others = [f"{other:.0f}" for other, _ in chosen if other != degrees]
        choices = lettered(f"{degrees:.0f}", others=others, rng=rng)
        question = with_options(self._wording("turn", rng), choices, short=self.short_prompt)
        return self._make(pair, question, choices.letter, {"form": "turn"}, (), words=f"{degrees:.0f}")

    def _nearer(self, pairs: list[Pair], rng: np.random.Generator) -> QAItem | None:
        alike = [pair for pair in pairs if pair.has_one_lens]
        if not alike:
            return None
        pair = alike[int(rng.integers(len(alike)))]
        shared = pair.both()
        seen = shared[int(rng.integers(len(shared)))]
        distances = [float(np.linalg.norm(view.centres[seen.number])) for view in (pair.first, pair.second)]
        question = f"{pair.lens_text} {self._wording('nearer', rng).format(name=seen.category)}"
        about = {"form": "nearer", "objects": [seen.name]}
        return self._compare(pair, distances[1] - distances[0], question, about)

    def _higher(self, pairs: list[Pair], rng: np.random.Generator) -> QAItem | None:
        pair = pairs[int(rng.integers(len(pairs)))]
        return self._compare(pair, -float(_step(pair)[2]), self._wording("higher", rng), {"form": "higher"})

    def _compare(self, pair: Pair, lead: float, question: str, about: dict[str, Any]) -> QAItem | None:
        """First or second; `lead` is that of the first in m."""
        if abs(lead) < MIN_LEAD:
            return None
        answer, other = _PLACES if lead > 0 else _PLACES[::-1]
        how = "" if self.short_prompt else " Answer with first or second."
        return self._make(pair, f"{question}{how}", answer, about, (answer, other))

    def _wording(self, form: str, rng: np.random.Generator) -> str:
        return choose(QUESTIONS[form], rng=rng, short=self.short_prompt)

    def _make(
        self,
        pair: Pair,
        question: str,
        answer: str,
        about: dict[str, Any],
        contest: tuple[str, ...],
        *,
        words: str = "",
    ) -> QAItem:
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question,
            answer=answer,
            images=(pair.first.image, pair.second.image),
            about={"cameras": pair.names, **about},
            contest=tuple(f"{word}, {about['form']}" for word in contest),
            words=words or answer,
        )


def _step(pair: Pair) -> Array:
    """From the first camera to the second, (3,) m in the world."""
    return np.asarray(position(pair.second) - position(pair.first))


def side_of(pair: Pair) -> str | None:
    """The side on which the second camera stands; None when that is not clear."""
    step = _step(pair)
    if not faces_somewhere(pair.first) or level_length(step) < MIN_STEP:
        return None
    return named(bearing(forward(pair.first), to=step), dial=SIDES)


def turn_between(pair: Pair) -> float:
    """Angle in degrees between the two directions of view."""
    cosine = float(np.clip(forward(pair.first) @ forward(pair.second), -1.0, 1.0))
    return math.degrees(math.acos(cosine))
