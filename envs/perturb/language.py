"""The language axis: the same instruction in other words.

Up to a strength of a third, a few polite words are added; up to two thirds, the verbs are exchanged; above, both, in a
sentence that says nothing else about the task. Names of things and places are never touched, so the instruction
stays true and as clear as it was.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import Any

import numpy as np

from vst_vla.envs.perturb.axis import CannotVary
from vst_vla.envs.simulator import Simulator

POLITE, REWORDED = 1 / 3, 2 / 3  # strengths up to which the milder changes are made

_VERBS: tuple[tuple[str, tuple[str, ...]], ...] = (
    (r"\bpick up the\b", ("grab the", "take the", "lift the", "get hold of the")),
    (r"\band place it\b", ("and put it", "and set it down", "and lay it")),
    (r"\bput both\b", ("place both", "move both", "set both")),
    (r"\bput the\b", ("place the", "set the", "move the")),
    (r"\bopen the (\w+) drawer\b", (r"pull out the \1 drawer", r"open up the \1 drawer")),
    (r"\bopen the\b", ("open up the",)),
    (r"\bclose (the|it)\b", (r"shut \1", r"push \1 shut")),
    (r"\bturn on the\b", ("switch on the", "start the")),
    (r"\bturn off the\b", ("switch off the", "stop the")),
    (r"\bpush the\b", ("slide the", "shove the")),
    (r"\bstack the\b", ("pile the",)),
)
"""LIBERO's verbs, with others for the same deed."""
_POLITE = ("please {}", "{} please", "could you {}", "now {}", "robot, {}", "i need you to {}")
_AROUND = (
    "there is a lot around here, but all i want is this: {}",
    "when you are ready, {} and leave everything else as it is",
    "my hands are full at the moment, so could you {} for me",
    "ignore everything that you do not need and {}",
    "let us tidy up a little. first of all, {}",
)


def vary_language(
    simulator: Simulator, *, strength: float, rng: np.random.Generator, undo: ExitStack
) -> dict[str, Any]:
    """An `Axis`. The description holds the sentence before and after.

    Raises:
        CannotVary: when the sentence has no verb that is known.
    """
    before = simulator.language
    sentence = paraphrase(before, strength=strength, rng=rng)
    undo.callback(simulator.set_goal, simulator.goal, language=before)
    simulator.set_goal(simulator.goal, language=sentence)
    return {"from": before, "task": sentence}


def paraphrase(sentence: str, *, strength: float, rng: np.random.Generator) -> str:
    """The sentence in other words. Raises CannotVary when it has no verb that is known."""
    if strength <= POLITE:
        return _one(_POLITE, rng).format(sentence)
    reworded = sentence
    for pattern, others in _VERBS:
        reworded = re.sub(pattern, _one(others, rng), reworded)
    if reworded == sentence:
        raise CannotVary(f"no other words are known for '{sentence}': lower the strength or leave out language")
    return reworded if strength <= REWORDED else _one(_AROUND, rng).format(reworded)


def _one(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
