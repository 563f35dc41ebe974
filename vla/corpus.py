"""What the tokenizers of backbones made here are trained on.

Robot prompts and a few questions by default; words and syllables too where questions are to be read: a colour in four
pieces and a name in six are long to find and long to repeat.
"""

from __future__ import annotations

from vst_vla.vla.prompt import ROBOT_QUESTION, SYSTEM_PROMPT, THINKING_PROMPT
from vst_vla.vla.words import CONSONANTS, OBJECTS, VOWELS, WORDS

OFTEN = 100
"""So often the syllables come: more often than pairs of letters across them, which would be merged first."""

_TASKS = (
    "pick up the {a} and place it in the {b}",
    "put the {a} on top of the {b}",
    "put both the {a} and the {b} in the basket",
    "open the middle drawer of the {b} and put the {a} inside",
    "turn on the stove and push the {a} next to the {b}",
)
_QUESTIONS = (
    "Which object is closer to the camera, the {a} or the {b}? The {a}.",
    "Detect the {a} and the {b} in the image. Return a JSON list with the keys `bbox_3d` and `label`.",
    "How far is the {a} from the {b}, in metres? 0.25 m",
    "Is the {a} to the left of, to the right of, in front of or behind the {b}? left right front behind above below",
    "Order the marked points from far to near: A, B, C, D. Answer with a single word or phrase.",
    "Camera parameters: horizontal fov 57.82 degrees, vertical fov 45.00 degrees, image width 256 px, height 256 px.",
    "The 3D box holds x_center, y_center, z_center, x_size, y_size, z_size, pitch, yaw, roll. The camera frame is the "
    "world frame: X points right, Y down and Z forward, in metres. The angles are Euler angles divided by 180.",
    '```json\n[\n\t{{"bbox_3d": [-0.12, 0.05, 0.98, 0.07, 0.10, 0.07, 0.00, -0.50, 1.00], "label": "{a}"}},\n'
    '\t{{"bbox_3d": [0.31, -0.24, 1.46, 0.20, 0.15, 0.20, 0.02, 0.25, -0.75], "label": "{b}"}}\n]\n```',
    "<think> The {a} is nearer than the {b}, because its depth is smaller. </think> {a}",
)


def default_texts() -> list[str]:
    """Robot prompts, spatial questions and answers over the names in the LIBERO suites."""
    texts = [SYSTEM_PROMPT, THINKING_PROMPT, "system\n", "user\n", "assistant\n"]
    for index, name in enumerate(OBJECTS):
        other = OBJECTS[(index + 7) % len(OBJECTS)]
        texts += [ROBOT_QUESTION.format(instruction=task.format(a=name, b=other)) for task in _TASKS]
        texts += [question.format(a=name, b=other) for question in _QUESTIONS]
    return texts


def reading_texts() -> list[str]:
    """`default_texts`, words by themselves, and the syllables of names that mean nothing."""
    words = [*WORDS.split(), *" ".join(OBJECTS).split()]
    syllables = [consonant + vowel for consonant in CONSONANTS for vowel in VOWELS]
    alone = [form for word in words for form in (word, f" {word}", word.capitalize(), f" {word.capitalize()}")]
    spoken = [*syllables, *(f" {syllable}" for syllable in syllables)]
    return [*default_texts(), *alone, *(spoken * OFTEN), *([" (", "),", ").", "-point"] * OFTEN)]
