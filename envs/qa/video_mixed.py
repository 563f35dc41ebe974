"""Other questions about videos: how the camera travels, and how far objects are from it.

Upstream's video set has a part called "others" without saying what it asks. Here it holds what VSI-Bench's questions
leave out and a camera on a robot's wrist makes natural: how far the camera is from its first place at the end, in which
direction it mainly went (as in `mi_camera_motion`), how far an object is from the camera, and which of several objects
is nearest to it, by at least `min_gap`; each of these is the nearest at some moment of one of the clip's videos. Those
about travel are asked of random stretches of the wrist camera's video,
half of them run backwards. Numbers are bare, in metres, with two decimals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import Clip, QAItem
from vst_vla.envs.qa.choices import lettered, some
from vst_vla.envs.qa.films import MOMENTS, Film, clear, films_of
from vst_vla.envs.qa.mi_camera_motion import MOVES, main_move
from vst_vla.envs.qa.options import fair_contest, fair_draw, with_options
from vst_vla.envs.qa.pairs import Pair, position
from vst_vla.envs.qa.wording import choose

MIN_TRAVEL = 0.05
"""Metres between a camera's first and last place."""

_QUESTIONS = {
    "travel": (
        "How many meters is the camera at the end of the video from where it was at its start?",
        "What is the straight-line distance in meters between the camera's first and its last place?",
    ),
    "heading": (
        "As seen from the camera in the first frame, which way did it mainly move until the last?",
        "Along its own axes in the first frame, which way did the camera go most until the last frame?",
    ),
    "away": (
        "At the {moment} of the video, how many meters is the center of the {a} from the camera?",
        "What is the distance in meters between the camera and the center of the {a} at the {moment} of the video?",
    ),
    "nearest": (
        "At the {moment} of the video, the center of which of these is nearest to the camera?",
        "Which of these objects is closest to the camera, center to camera, at the {moment} of the video?",
    ),
}
_NUMBER = "Answer with a number only."
_NUM_OTHERS = 3


@dataclass(frozen=True, kw_only=True)
class VideoMixed:
    """Asks about a video's camera: a number, or a letter.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
        min_gap: m by which the nearest object leads.
    """

    name: ClassVar[str] = "video_mixed"
    level: ClassVar[str] = "L3"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False
    min_gap: float = 0.03

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items; fewer when a drawn question has no clear answer."""
        films = films_of(clip)
        moving = [film for film in films if not film.stands_still]
        makers: list[tuple[list[Film], Callable[[list[Film], np.random.Generator], QAItem | None]]] = [
            (moving, self._travel),
            (moving, self._heading),
            (films, self._away),
            (films, self._nearest),
        ]
        drawn = [makers[int(rng.integers(len(makers)))] for _ in range(count)]
        items = [make(about, rng) for about, make in drawn if about]
        return [item for item in items if item is not None]

    def _travel(self, films: list[Film], rng: np.random.Generator) -> QAItem | None:
        film = films[int(rng.integers(len(films)))].stretch(rng)
        metres = float(np.linalg.norm(position(film.views[-1]) - position(film.views[0])))
        if metres < MIN_TRAVEL:
            return None
        question = self._numeric(film, choose(_QUESTIONS["travel"], rng=rng, short=self.short_prompt))
        return film.item(self, question=question, answer=f"{metres:.2f}", about={"form": "travel"})

    def _heading(self, films: list[Film], rng: np.random.Generator) -> QAItem | None:
        stretches = [film.stretch(rng) for film in films for _ in MOVES]
        cases = [(move, film) for film in stretches if (move := main_move(_ends(film))) is not None]
        if not cases:
            return None
        move, film = fair_draw(cases, rng=rng)
        others = some(sorted({other for other, _ in cases}), count=_NUM_OTHERS, without=move, rng=rng)
        if not others:
            return None
        choices = lettered(move, others=others, rng=rng)
        wording = choose(_QUESTIONS["heading"], rng=rng, short=self.short_prompt)
        question = with_options(wording, choices, short=self.short_prompt)
        contest = (move, *others)
        return film.item(self, question=question, answer=choices.letter, about={"form": "heading"}, contest=contest)

    def _away(self, films: list[Film], rng: np.random.Generator) -> QAItem | None:
        film, moment = films[int(rng.integers(len(films)))], MOMENTS[int(rng.integers(2))]
        objects = clear(film.at(moment))
        if not objects:
            return None
        seen = objects[int(rng.integers(len(objects)))]
        wording = choose(_QUESTIONS["away"], rng=rng, short=self.short_prompt).format(a=seen.category, moment=moment)
        return film.item(
            self,
            question=self._numeric(film, wording),
            answer=f"{np.linalg.norm(seen.centre):.2f}",
            about={"form": "away", "objects": [seen.name], "moment": moment},
        )

    def _nearest(self, films: list[Film], rng: np.random.Generator) -> QAItem | None:
        contest = fair_contest(_nearness(films), most=1 + _NUM_OTHERS, lead=self.min_gap, rng=rng)
        if contest is None:
            return None
        (film, moment), names = contest.case, (contest.winner, *contest.others)
        choices = lettered(contest.winner, others=contest.others, rng=rng)
        wording = choose(_QUESTIONS["nearest"], rng=rng, short=self.short_prompt).format(moment=moment)
        question = with_options(wording, choices, short=self.short_prompt)
        named = {seen.category: seen.name for seen in clear(film.at(moment))}
        about = {"form": "nearest", "objects": [named[name] for name in names], "moment": moment}
        return film.item(self, question=question, answer=choices.letter, about=about, contest=names)

    def _numeric(self, film: Film, wording: str) -> str:
        return f"{film.views[0].lens_text} {wording}" + ("" if self.short_prompt else f" {_NUMBER}")


def _nearness(films: list[Film]) -> list[tuple[tuple[Film, str], dict[str, float]]]:
    """Both moments of every film with the distances in m of the objects from the camera."""
    places = [(film, moment) for film in films for moment in MOMENTS]
    return [
        ((film, moment), {seen.category: float(np.linalg.norm(seen.centre)) for seen in clear(film.at(moment))})
        for film, moment in places
    ]


def _ends(film: Film) -> Pair:
    return Pair(first=film.views[0], second=film.views[-1])
