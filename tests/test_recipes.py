"""Every recipe composes as `vst-vla train` does it, so does every command in its header, and `small` is of its size."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile
from pathlib import Path

import pytest
import torch
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor

from vst_vla.scripts.config import CONFIGS, compose
from vst_vla.vla.backbone import Backbone, use_attention
from vst_vla.vla.data.robot import ReaderOptions
from vst_vla.vla.model import VLAModel
from vst_vla.vla.presets import NAMES, PRESETS, preset_config
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.tokenizer import make_tiny_processor
from vst_vla.vla.train.recipe import Recipe

RECIPES = sorted(path.stem for path in (CONFIGS / "recipe").glob("*.yaml"))
COMMAND = re.compile(r"(?:vst-vla|vst_vla\.scripts\.cli) (train|demos|qa) ([^;]*)")


def header(name: str) -> list[str]:
    """The comment at the top of a recipe, lines that end in a backslash joined with the next."""
    lines = (CONFIGS / "recipe" / f"{name}.yaml").read_text().splitlines()
    text = "\n".join(line[1:] for line in takewhile(lambda line: line.startswith("#"), lines))
    return re.sub(r"\\\n\s*", "", text).splitlines()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_composes_into_settings(name: str) -> None:
    config = compose("train", [f"recipe={name}"])
    recipe = Recipe.from_dict(config["recipe"])
    assert recipe.name == name
    assert config["backbone"]["name"] in NAMES
    ReaderOptions.from_dict(config["data"]["reader"])
    for processes in (1, 8):
        if recipe.batch_size % processes == 0 and recipe.batch_size >= 16:
            rows, times = recipe.split(processes)
            assert rows * times * processes == recipe.batch_size


@pytest.mark.parametrize("name", RECIPES)
def test_its_header_has_what_a_user_needs_and_commands_that_work(name: str) -> None:
    told = header(name)
    for word in ("Command:", "Hardware:", "Expected:"):
        assert any(line.strip().startswith(word) for line in told), word
    commands = [found for line in told for found in COMMAND.findall(line)]
    assert any(f"recipe={name}" in given for verb, given in commands if verb == "train")
    for verb, given in commands:
        words = [word.rstrip(",") for word in shlex.split(given)]
        overrides = [re.sub(r"\$\w", "object", word) for word in words if "=" in word]
        compose(verb, overrides)


def test_recipes_bring_their_backbone_and_the_command_line_another() -> None:
    assert compose("train", ["recipe=small"])["backbone"]["name"] == "small"
    assert compose("train", ["recipe=vst_3b"])["backbone"]["name"] == "vst-3b-sft"
    assert compose("train", ["recipe=small", "backbone=tiny"])["backbone"]["name"] == "tiny"
    assert compose("train", ["recipe=vst_3b", "head=flow"])["head"]["name"] == "flow"


@pytest.mark.parametrize("name", ["tiny", "small", "vst_3b"])
def test_history_is_a_setting_and_off(name: str) -> None:
    assert Recipe.from_dict(compose("train", [f"recipe={name}"])["recipe"]).history is None
    given = compose("train", [f"recipe={name}", "recipe.history=[4,8]"])
    assert Recipe.from_dict(given["recipe"]).history == (4, 8)


@pytest.mark.parametrize(("name", "least", "most"), [("tiny", 2.5e6, 4e6), ("small", 100e6, 300e6)])
def test_a_policy_from_random_weights_is_of_its_size(name: str, least: float, most: float) -> None:
    """Built without memory, with the recipe's own head."""
    processor = make_tiny_processor()
    config = preset_config(name, tokenizer=processor.tokenizer)
    spec = ModelSpec(head=compose("train", [])["head"], backbone=name)
    with torch.device("meta"):
        model = VLAModel(_backbone(config, processor, name), spec=spec)
    assert least < sum(parameter.numel() for parameter in model.parameters()) < most


@pytest.mark.parametrize("name", PRESETS)
def test_the_sizes_of_a_preset_fit_each_other(name: str) -> None:
    config = preset_config(name, tokenizer=make_tiny_processor().tokenizer)
    text, vision = config.text_config, config.vision_config
    assert vision.out_hidden_size == text.hidden_size
    head = text.hidden_size // text.num_attention_heads
    assert 2 * sum(text.rope_parameters["mrope_section"]) == head
    assert text.hidden_size % text.num_attention_heads == vision.hidden_size % vision.num_heads == 0
    assert text.num_attention_heads % text.num_key_value_heads == 0
    assert vision.fullatt_block_indexes == list(range(vision.depth))


def test_every_backbone_of_the_configuration_is_known() -> None:
    for path in (CONFIGS / "backbone").glob("*.yaml"):
        assert compose("train", [f"backbone={path.stem}"])["backbone"]["name"] in NAMES
    assert set(PRESETS) <= {Path(path).stem for path in (CONFIGS / "backbone").glob("*.yaml")}


def _backbone(config: Qwen2_5_VLConfig, processor: Qwen2_5_VLProcessor, name: str) -> Backbone:
    model = Qwen2_5_VLForConditionalGeneration(config)
    use_attention(model, "sdpa")
    return Backbone(model=model, processor=processor, name=name)
