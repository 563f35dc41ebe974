"""Batches: slots after the prompt, labels on answers only, positions of pictures, padding."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from transformers import Qwen2_5_VLProcessor

from vst_vla.vla.contracts import ACTION_IS_PAD_KEY, ACTION_KEY, IMAGE_KEYS, STATE_KEY, TASK_KEY
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.tokenizer import make_tiny_processor


@cache
def processor() -> Qwen2_5_VLProcessor:
    return make_tiny_processor()


def robot_sample(task: str) -> dict:
    rng = np.random.default_rng(0)
    pictures = {key: rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    actions = {ACTION_KEY: np.zeros((8, 7), np.float32), ACTION_IS_PAD_KEY: np.zeros(8, bool)}
    return {**pictures, **actions, STATE_KEY: np.zeros(8, np.float32), TASK_KEY: task}


def question(answer: str) -> dict:
    turns = [{"from": "human", "value": "<image>\nWhich is nearer?"}, {"from": "gpt", "value": answer}]
    picture = np.zeros((112, 112, 3), np.uint8)
    return {"id": "q", "type": "mm_qa", "conversations": turns, "images": [picture]}


def test_robot_rows() -> None:
    collator = Collator(processor(), image_keys=IMAGE_KEYS, num_slots=9)
    batch = collator.robot([robot_sample("pick up the milk"), robot_sample("pick up the orange juice now please")])
    assert batch["slot_mask"].sum(dim=1).tolist() == [9, 9]
    assert (batch["labels"] == -100).all()
    assert batch["image_grid_thw"].tolist() == [[1, 8, 8]] * 4
    image_id = processor().tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert (batch["input_ids"] == image_id).sum(dim=1).tolist() == [32, 32]
    for row in range(2):
        length = int(batch["attention_mask"][row].sum())
        slots = torch.nonzero(batch["slot_mask"][row])[:, 0]
        assert slots.tolist() == list(range(length - 9, length)), "slots follow the prompt, before the padding"
    text = processor().tokenizer.decode(batch["input_ids"][0][~batch["slot_mask"][0]])
    assert "What action should the robot take to pick up the milk?" in text
    assert "system" not in text


def test_questions_are_labelled_on_the_answer_only() -> None:
    batch = Collator(processor()).questions([question("the milk"), question("the basket, by far the nearest")])
    tokenizer = processor().tokenizer
    for row, answer in enumerate(("the milk", "the basket, by far the nearest")):
        targets = batch["labels"][row][batch["labels"][row] != -100]
        assert tokenizer.decode(targets) == f"<|im_start|>assistant\n{answer}<|im_end|>"
    assert "slot_mask" not in batch


def test_pictures_equal_the_processors_own() -> None:
    """What the model sees is what transformers' processor makes of the same picture."""
    sample = robot_sample("x")
    batch = Collator(processor(), image_keys=IMAGE_KEYS, num_slots=1).robot([sample])
    stock = processor().image_processor([sample[key] for key in IMAGE_KEYS], return_tensors="pt")
    torch.testing.assert_close(batch["pixel_values"], stock["pixel_values"])


def test_a_question_that_is_too_long_is_named() -> None:
    with pytest.raises(ValueError, match=r"record 'q' has \d+ tokens, at most 30 fit"):
        Collator(processor(), max_tokens=30).questions([question("long " * 50)])
