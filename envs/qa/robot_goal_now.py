"""Whether a task's goal is reached in the picture: yes or no, as LIBERO's own predicates judge it.

One moment of an episode is shown. Two forms, drawn at random where both can be said:

    predicate  one condition of the goal in words of its own: "Is the milk in the basket?"
    task       the whole goal by the task's sentence

The picture is that of a camera that stands still. A moment right before the truth changes is left out, since hardly a
picture tells it from the one after. The things that the goal is about are in view, a drawer by its handle; only what
lies in something may be hidden by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vst_vla.envs.qa.base import PICTURES, Clip, QAItem
from vst_vla.envs.qa.conditions import named_objects, read_condition
from vst_vla.envs.qa.films import Film, still_films
from vst_vla.envs.qa.view import View
from vst_vla.envs.qa.wording import choose
from vst_vla.vla.contracts import GoalState, SceneState

MIN_VISIBLE = 0.25
MIN_PIXELS = 30

_QUESTIONS = {
    "predicate": (
        "Is {subject} {state}?",
        "Does this hold in the picture: {subject} is {state}?",
        "Look at the picture. Is it true that {subject} is {state} now?",
    ),
    "task": (
        'Is this done: "{task}"?',
        'The robot was told: "{task}". Has it finished that?',
        'Does the picture show the goal of "{task}" reached?',
    ),
}


@dataclass(frozen=True, kw_only=True)
class _Case:
    """A condition, or the whole goal, at one moment."""

    view: View
    frame: int
    form: str
    goals: Sequence[GoalState]
    holds: bool


@dataclass(frozen=True, kw_only=True)
class RobotGoalNow:
    """Asks whether a goal is reached; the answer is yes or no.

    Args:
        short_prompt: the plainest wording, without saying how to answer.
    """

    name: ClassVar[str] = "robot_goal_now"
    level: ClassVar[str] = "L2"
    takes_clips: ClassVar[bool] = True

    short_prompt: bool = False

    def __call__(self, clip: Clip, *, count: int, rng: np.random.Generator) -> list[QAItem]:
        """At most `count` items, yes and no drawn with equal chance while both are left."""
        cases = [case for film in still_films(clip) for case in _cases(film)]
        mixed = [cases[int(place)] for place in rng.permutation(len(cases))]
        piles = [[case for case in mixed if case.holds is holds] for holds in (True, False)]
        items: list[QAItem] = []
        while len(items) < count and (left := [pile for pile in piles if pile]):
            items.append(self._item(left[int(rng.integers(len(left)))].pop(), rng))
        return items

    def _item(self, case: _Case, rng: np.random.Generator) -> QAItem:
        wording = choose(_QUESTIONS[case.form], rng=rng, short=self.short_prompt)
        question = wording.format(**_words(case.view.scene, case.form, case.goals))
        answers = ("yes", "no") if case.holds else ("no", "yes")
        said = _QUESTIONS[case.form][0].format(**_words(case.view.scene, case.form, case.goals))
        return QAItem(
            family=self.name,
            level=self.level,
            kind=PICTURES,
            question=question if self.short_prompt else f"{question} Answer yes or no.",
            answer=answers[0],
            images=(case.view.image,),
            about={
                "camera": case.view.name,
                "frame": case.frame,
                "form": case.form,
                "goals": [list(goal.predicate) for goal in case.goals],
            },
            contest=tuple(f"{said} {answer}" for answer in answers),
        )


def _words(scene: SceneState, form: str, goals: Sequence[GoalState]) -> dict[str, str]:
    if form == "task":
        return {"task": scene.task}
    condition = read_condition(scene, predicate=goals[0].predicate)
    assert condition is not None, "only conditions with words are asked about"
    return {"subject": f"the {scene.categories[condition.subject]}", "state": condition.state}


def _cases(film: Film) -> Iterator[_Case]:
    """Everything that can be asked of a camera's pictures."""
    scenes = [view.scene for view in film.views]
    parts = [[number] for number in range(len(scenes[0].goals)) if _is_said(scenes[0], scenes[0].goals[number])]
    whole = list(range(len(scenes[0].goals)))
    for form, chosen in [*(("predicate", part) for part in parts), ("task", whole)]:
        truths = [all(scene.goals[number].holds for number in chosen) for scene in scenes]
        for frame, (view, holds) in enumerate(zip(film.views, truths, strict=True)):
            goals = [view.scene.goals[number] for number in chosen]
            about_to_change = not holds and frame + 1 < len(truths) and truths[frame + 1]
            if not about_to_change and all(_is_shown(view, goal) for goal in goals):
                yield _Case(view=view, frame=frame, form=form, goals=goals, holds=holds)


def _is_said(scene: SceneState, goal: GoalState) -> bool:
    """Whether the condition has words that mean one thing."""
    condition = read_condition(scene, predicate=goal.predicate)
    if condition is None:
        return False
    named = [condition.subject, *([condition.place] if condition.place >= 0 else [])]
    return all(scene.categories.count(scene.categories[number]) == 1 for number in named)


def _is_shown(view: View, goal: GoalState) -> bool:
    """Whether what the condition is about can be seen; what is in something may be hidden by it."""
    named = named_objects(view.scene, predicate=goal.predicate)
    seen = (view.scene.visible[view.camera] >= MIN_VISIBLE) & (view.pixels >= MIN_PIXELS)
    hidden_by_place = goal.holds and goal.predicate[0] == "in"
    needed = [*(named[1:] if hidden_by_place else named), *_handles(view.scene, goal)]
    return bool(named) and all(seen[number] for number in needed)


def _handles(scene: SceneState, goal: GoalState) -> list[int]:
    """The handle of the drawer that a condition is about."""
    condition = read_condition(scene, predicate=goal.predicate)
    parts = () if condition is None else (condition.subject, condition.place)
    names = [f"{scene.names[part]}_handle" for part in parts if part >= 0]
    return [scene.names.index(name) for name in names if name in scene.names]
