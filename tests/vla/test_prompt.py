"""Chat messages, their rendering and loss masks, and the offline tokenizer that encodes them."""

import pytest
from PIL import Image
from transformers import AutoProcessor

from vst_vla.vla import prompt
from vst_vla.vla.corpus import default_texts
from vst_vla.vla.prompt import encode, record_messages, render, robot_messages, split_reply
from vst_vla.vla.tokenizer import SPECIAL_TOKENS, make_tiny_processor

IMAGE = "<|vision_start|><|image_pad|><|vision_end|>"


@pytest.fixture(scope="module")
def processor():
    return make_tiny_processor()


def _record(**changes):
    turns = [{"from": "human", "value": "<image>\nHow far?"}, {"from": "gpt", "value": "3.5"}]
    return {"id": "r1", "conversations": turns, "images": [{"bytes": b""}], "type": "mm_qa"} | changes


def _text(messages, **options):
    return "".join(segment.text for segment in render(messages, **options))


def test_robot_prompt_has_cameras_first_lower_case_and_no_system_turn():
    messages = robot_messages(" Pick up the Milk ", num_images=2)
    assert _text(messages, add_generation_prompt=True) == (
        f"<|im_start|>user\n{IMAGE}{IMAGE}What action should the robot take to pick up the milk?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_rendering_equals_the_chat_template(processor):
    for messages in (record_messages(_record()), prompt.question_messages("Where?", num_images=2, thinking=True)):
        assert _text(messages) == processor.apply_chat_template(messages)
        with_prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
        assert _text(messages, add_generation_prompt=True) == with_prompt


def test_the_template_adds_qwens_default_system_turn(processor):
    text = processor.apply_chat_template(robot_messages("x", num_images=1))
    assert text.startswith(
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n<|vision_start|>"
    )


def test_the_whole_assistant_message_and_nothing_else_is_a_target(processor):
    row = encode(record_messages(_record()), tokenizer=processor.tokenizer, image_tokens=[16])
    targets = [i for i in row.labels if i != prompt.IGNORED]
    assert processor.tokenizer.decode(targets) == "<|im_start|>assistant\n3.5<|im_end|>"
    assert sum(row.mm_token_type_ids) == 16
    assert len(row.input_ids) == len(row.labels) == len(row.mm_token_type_ids)


def test_encoding_equals_the_processor_on_the_same_text(processor):
    messages = record_messages(_record())
    row = encode(messages, tokenizer=processor.tokenizer, image_tokens=[16])
    whole = processor(text=[_text(messages)], images=[Image.new("RGB", (112, 112))])
    assert row.input_ids == whole["input_ids"][0]
    assert row.mm_token_type_ids == whole["mm_token_type_ids"][0]


def test_images_go_where_the_record_marks_them():
    images = [{"bytes": b""}] * 2
    turns = [{"from": "human", "value": "First <|image_pad|> then <|vision_start|><|image_pad|><|vision_end|> end"}]
    content = record_messages(_record(images=images, conversations=turns))[1]["content"]
    assert [part["type"] for part in content] == ["text", "image", "text", "image", "text"]


def test_images_without_a_marker_come_first():
    turns = [{"from": "human", "value": "Compare them."}, {"from": "gpt", "value": "no"}]
    content = record_messages(_record(images=[{}, {}], conversations=turns))[1]["content"]
    assert [part["type"] for part in content] == ["image", "image", "text"]


def test_thought_records_get_the_thinking_system_prompt():
    def system(kind):
        return record_messages(_record(type=kind))[0]["content"][0]["text"]

    assert system("thought_mm_qa") == prompt.THINKING_PROMPT
    assert system("bbox_3d") == prompt.SYSTEM_PROMPT


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conversations": []}, "'r1' has no conversations"),
        ({"images": [{}, {}]}, "marks 1 images in its text but carries 2"),
        ({"conversations": [{"from": "robot", "value": "hi"}], "images": []}, "speaker 'robot'"),
        ({"conversations": [{"from": "human", "value": "<|video_pad|>"}]}, "holds a video"),
    ],
)
def test_a_broken_record_is_named(changes, message):
    with pytest.raises(ValueError, match=message):
        record_messages(_record(**changes))


@pytest.mark.parametrize("counts", [[], [16, 16]])
def test_another_number_of_images_is_an_error(processor, counts):
    with pytest.raises(ValueError, match="messages place"):
        encode(record_messages(_record()), tokenizer=processor.tokenizer, image_tokens=counts)


@pytest.mark.parametrize(
    ("text", "think", "answer"),
    [
        ("<think>near</think> A", "near", "A"),
        ("<think>a</think><think>b</think>B ", "a</think><think>b", "B"),
        ("implicit opening</think>C", "implicit opening", "C"),
        ("<think>never closes", "never closes", ""),
        (" 71 cm\n", None, "71 cm"),
    ],
)
def test_split_reply(text, think, answer):
    reply = split_reply(text)
    assert (reply.think, reply.answer) == (think, answer)


def test_same_texts_give_the_same_tokenizer(processor):
    again = make_tiny_processor(default_texts())
    assert again.tokenizer.backend_tokenizer.to_str() == processor.tokenizer.backend_tokenizer.to_str()


def test_the_processor_round_trips_without_a_network(processor, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    processor.save_pretrained(tmp_path)
    loaded = AutoProcessor.from_pretrained(tmp_path)
    text = "<|im_start|>user\n<|vision_start|><|image_pad|><|vision_end|>milk 12.34 é 日本\t[-0.5]<|im_end|>\n"
    assert type(loaded) is type(processor)
    assert loaded.tokenizer(text)["input_ids"] == processor.tokenizer(text)["input_ids"]
    assert loaded.tokenizer.decode(loaded.tokenizer(text)["input_ids"]) == text
    assert (loaded.tokenizer.eos_token, loaded.tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")
    assert loaded.chat_template == processor.chat_template


def test_digits_stand_alone_and_special_tokens_are_whole(processor):
    tokens = processor.tokenizer.tokenize("-12.05<|image_pad|>")
    assert tokens == ["-", "1", "2", ".", "0", "5", "<|image_pad|>"]
    ids = processor.tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS))
    assert len(set(ids)) == len(SPECIAL_TOKENS)


def test_vocabulary_bound_is_respected():
    assert len(make_tiny_processor(vocab_size=300).tokenizer) <= 300
    with pytest.raises(ValueError, match="at least 270"):
        make_tiny_processor(vocab_size=200)
    with pytest.raises(ValueError, match="at least 28"):
        make_tiny_processor(max_image_size=20)
