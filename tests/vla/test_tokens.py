"""Actions as words: VST's table, its ids, its prompt, its pictures, and decoding among action words only."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from vst_vla.scripts.config import compose
from vst_vla.vla.backbone import add_words, load_backbone
from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEY, LIBERO_ACTION, TASK_KEY
from vst_vla.vla.data.collate import Collator
from vst_vla.vla.heads.tokens import WORDS, actions_of, words_of
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.transforms import action_normalizer

EDGES = np.linspace(-1, 1, 256)


def test_words_are_upstreams() -> None:
    """Token id = vocabulary - d with d = digitize(x, edges), and back: centre of clip(vocabulary - id - 1, 0, 254)."""
    values = np.concatenate([np.linspace(-1.2, 1.2, 997), EDGES, [0.0]]).astype(np.float32)
    vocabulary = 151_665 + 256
    ids = vocabulary - np.digitize(np.clip(values, -1, 1), EDGES)
    words = words_of(torch.from_numpy(values))
    assert np.array_equal(words.numpy() + 151_665, ids)
    centres = (EDGES[:-1] + EDGES[1:]) / 2
    expected = centres[np.clip(vocabulary - ids - 1, 0, 254)]
    np.testing.assert_allclose(actions_of(words).numpy(), expected, atol=1e-7)
    assert [WORDS[n] for n in words_of(torch.tensor([-1.0, 1.0, 0.0]))] == [
        "<|action_255|>",
        "<|action_0|>",
        "<|action_128|>",
    ]
    inside = torch.from_numpy(values).clamp(-1, 1)
    assert (actions_of(words) - inside).abs().max() <= 0.5 / 127.5 + 1e-6, "half a bin"


def test_spare_rows_are_used_before_the_vocabulary_grows() -> None:
    backbone = load_backbone("tiny")
    tokenizer, model = backbone.processor.tokenizer, backbone.model
    used = len(tokenizer)
    model.resize_token_embeddings(used + 271, mean_resizing=False)
    before = model.get_input_embeddings().weight.detach().clone()
    ids = add_words(backbone, words=WORDS)
    assert ids == list(range(used, used + 256)) == tokenizer.convert_tokens_to_ids(list(WORDS))
    assert torch.equal(model.get_input_embeddings().weight, before)
    assert add_words(backbone, words=WORDS) == ids, "a loaded checkpoint has them already"
    more = add_words(backbone, words=[f"<|more_{n}|>" for n in range(100)])
    grown = model.get_input_embeddings().weight
    assert max(more) < len(grown) == model.config.text_config.vocab_size
    assert torch.equal(grown[: len(before)], before)
    assert tokenizer.encode("a<|action_7|><|action_0|>b")[1:3] == [ids[7], ids[0]]


def test_new_words_learn_in_a_frozen_model() -> None:
    backbone = load_backbone("tiny")
    backbone.model.requires_grad_(requires_grad=False)
    add_words(backbone, words=WORDS)
    assert backbone.model.get_input_embeddings().weight.requires_grad


@pytest.fixture(scope="module")
def parity() -> VLAModel:
    """What `vst-vla train recipe=vst_parity` makes of the tiny backbone."""
    config = compose("train", ["recipe=vst_parity"])
    recipe = Recipe.from_dict(config["recipe"])
    assert config["data"]["reader"]["cameras"] == {"image": "image"}
    spec = ModelSpec(
        head=config["head"],
        state=None if not recipe.state else ...,
        image_keys=(IMAGE_KEY,),
        image_size=recipe.image_size,
        crop=recipe.crop,
        camera_embedding=recipe.camera_embedding,
        least_action_share=recipe.least_action_share,
    )
    values = {"mean": 0, "std": 1, "min": -1, "max": 1, "q01": -0.05, "q99": 0.09}
    stats = FeatureStats.from_mapping({key: np.full(7, value) for key, value in values.items()}, key="action")
    torch.manual_seed(0)
    return VLAModel(load_backbone("tiny"), spec=spec, norm_stats=NormStats({ACTION_KEY: stats})).eval()


def test_parity_sees_upstreams_prompt(parity: VLAModel) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    observation = {IMAGE_KEY: picture, TASK_KEY: "Pick up the milk"}
    batch = InferencePipeline(parity).inputs([observation])
    tokenizer = parity.processor.tokenizer
    assert tokenizer.decode(batch["input_ids"][0]) == (
        "<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * 81 + "<|vision_end|>"
        "What action should the robot take to pick up the milk?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert batch["image_grid_thw"].tolist() == [[1, 18, 18]], "252 px"
    assert parity.camera_embedding is None
    actions = InferencePipeline(parity).actions(parity.predict(batch))[0]
    assert actions.shape == (1, 7)
    LIBERO_ACTION.check(actions)


def test_parity_normalises_as_upstream(parity: VLAModel) -> None:
    """Also a dimension that hardly moves; the gripper, -1 or 1 here, comes out as upstream's clipped one."""
    assert parity.spec is not None
    raw = np.random.default_rng(1).uniform(-0.05, 0.09, (5, 7)).astype(np.float32)
    ours = action_normalizer(parity.spec, stats=parity.norm_stats).normalize(raw)
    theirs = (raw + 0.05) / (0.09 + 0.05 + 1e-6) * 2 - 1
    np.testing.assert_allclose(ours[:, :6], theirs[:, :6], atol=1e-5)
    assert np.array_equal(ours[:, 6], raw[:, 6])
    gripper = np.array([-1.0, 1.0])
    upstream = np.clip((gripper - 0.0) / (1.0 - 0.0 + 1e-6) * 2 - 1, -1, 1)
    assert np.array_equal(words_of(torch.tensor(gripper)), words_of(torch.tensor(upstream).round()))


def test_what_is_trained_is_what_the_tokenizer_makes_of_the_conversation(parity: VLAModel) -> None:
    """Prompt, seven words, end of the message: the ids that the text itself has."""
    seen = {}

    class Prompts:
        state, batch_size = None, 1

        def score(self, slots: None, *, ids: torch.Tensor) -> torch.Tensor:
            seen["ids"] = ids
            return torch.zeros(*ids.shape, 4000)

    actions = torch.linspace(-1, 1, 7)[None, None]
    parity.head.loss(Prompts(), actions=actions, action_is_pad=torch.zeros(1, 1).bool())
    text = "".join(WORDS[n] for n in words_of(actions).flatten()) + "<|im_end|>"
    assert seen["ids"][0].tolist() == parity.processor.tokenizer.encode(text)


def test_scores_and_greedy_writing_agree(head_batches: ModuleType, robot_folder: Path) -> None:
    """Written ids are the likeliest allowed ones given those before them, row by row, also behind padding."""
    model = head_batches.make_model(robot_folder, {"name": "tokens", "chunk": 2}).eval()
    batch = head_batches.make_batch(robot_folder, model, count=2)
    for key, filler in (("input_ids", 0), ("attention_mask", 0), ("slot_mask", False)):
        batch[key] = torch.nn.functional.pad(batch[key], (0, 3), value=filler)
    with torch.no_grad():
        prompts = model.prompts(batch)
        slot = model.head.slot(prompts.state)
        ids = prompts.write(slot, num_tokens=14, allowed=model.head.ids)
        likeliest = prompts.score(slot, ids=ids)[..., model.head.ids].argmax(-1)
    assert ids.shape == (2, 14)
    assert torch.equal(model.head.ids[likeliest], ids)


def test_padded_steps_are_no_targets(head_batches: ModuleType, robot_folder: Path) -> None:
    model = head_batches.make_model(robot_folder, {"name": "tokens", "chunk": 2}).eval()
    batch = head_batches.make_batch(robot_folder, model, count=1)
    batch["action_is_pad"] = torch.tensor([[False, True]])
    spoilt = batch | {"actions": batch["actions"].clone()}
    spoilt["actions"][:, 1] = 0.77
    assert not torch.equal(words_of(batch["actions"]), words_of(spoilt["actions"]))
    with torch.no_grad():
        assert torch.equal(model(**batch)["loss"], model(**spoilt)["loss"])


def test_collated_pictures_of_256_px_are_81_tokens_by_the_processor_itself() -> None:
    processor = load_backbone("tiny").processor
    picture = np.zeros((256, 256, 3), np.uint8)
    assert processor.image_processor([picture], return_tensors="pt")["image_grid_thw"].prod() // 4 == 81
    assert Collator(processor)._pictures([np.zeros((252, 252, 3), np.uint8)])[1] == [81]
