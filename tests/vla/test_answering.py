"""Replies of the tiny backbone: alone and in a batch, with none, one and two pictures."""

import numpy as np
import pytest

from vst_vla.vla.answering import Answerer, Asked
from vst_vla.vla.backbone import load_backbone

PICTURES = [np.full((40, 90, 3), shade, np.uint8) for shade in (30, 200)]
QUESTIONS = [
    Asked(id="none", prompt="Which is left?", pictures=[]),
    Asked(id="one", prompt="What is on the table, and what is beside it?", pictures=PICTURES[:1]),
    Asked(id="two", prompt="First <image>, then <image>: which moved?", pictures=PICTURES),
]


@pytest.fixture(scope="module")
def backbone():
    return load_backbone("tiny")


def test_a_batch_replies_as_single_questions_do(backbone):
    answerer = Answerer(backbone, max_new_tokens=6)
    assert answerer.answer(QUESTIONS) == [answerer.answer([question])[0] for question in QUESTIONS]


def test_pictures_and_thinking_change_the_reply(backbone):
    """What is asked reaches the model: other pictures and another system prompt give other tokens."""
    plain = Answerer(backbone, max_new_tokens=12)
    swapped = Asked(id="two", prompt=QUESTIONS[2].prompt, pictures=PICTURES[::-1])
    replies = [plain.answer([QUESTIONS[2]]), plain.answer([swapped])]
    replies.append(Answerer(backbone, thinking=True, max_new_tokens=12).answer([QUESTIONS[2]]))
    assert len({reply[0] for reply in replies}) == 3


def test_a_question_that_marks_other_pictures_is_named(backbone):
    wrong = Asked(id="q7", prompt="<image><image>?", pictures=PICTURES[:1])
    with pytest.raises(ValueError, match="record 'q7' marks 2 images in its text but carries 1"):
        Answerer(backbone).answer([wrong])
