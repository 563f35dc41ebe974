"""The policy network: its two losses against the stock path, its action path, its checkpoint folder."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from transformers import Qwen2_5_VLForConditionalGeneration

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.model import VLAModel
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.prompt import encode, record_messages, robot_messages
from vst_vla.vla.spec import ModelSpec


def _feature(dim):
    values = {"mean": 0, "std": 1, "min": -2, "max": 2, "q01": -1, "q99": 1}
    return FeatureStats.from_mapping({key: np.full(dim, value) for key, value in values.items()}, key="x")


STATS = NormStats({"action": _feature(7), "observation.state": _feature(8)})


@pytest.fixture
def model():
    torch.manual_seed(0)
    return VLAModel(load_backbone("tiny"), spec=ModelSpec(), norm_stats=STATS)


def _pad(rows, fill, width):
    return torch.tensor([row + [fill] * (width - len(row)) for row in rows])


def _pictures(count):
    generator = torch.Generator().manual_seed(0)
    return {
        "pixel_values": torch.randn(count * 64, 1176, generator=generator),
        "image_grid_thw": torch.tensor([[1, 8, 8]] * count),
    }


def _robot_batch(model, tasks=("pick up the milk", "put the butter in the basket and close the drawer")):
    tokenizer, slots = model.processor.tokenizer, model.head.num_slots
    rows = [
        encode(robot_messages(t, num_images=2), tokenizer=tokenizer, image_tokens=[16, 16], add_generation_prompt=True)
        for t in tasks
    ]
    lengths = torch.tensor([len(row.input_ids) + slots for row in rows])
    width = int(lengths.max())
    places = torch.arange(width)[None]
    generator = torch.Generator().manual_seed(1)
    return {
        "input_ids": _pad([row.input_ids for row in rows], tokenizer.pad_token_id, width),
        "attention_mask": (places < lengths[:, None]).long(),
        "slot_mask": (places < lengths[:, None]) & (places >= lengths[:, None] - slots),
        "state": torch.randn(len(rows), 8, generator=generator),
        "actions": torch.randn(len(rows), 8, 7, generator=generator),
        "action_is_pad": torch.zeros(len(rows), 8, dtype=torch.bool),
        **_pictures(2 * len(rows)),
    }


def _question_batch(model):
    answers = ("The milk.", '```json\n[{"bbox_3d": [0.12], "label": "milk"}]\n```')
    records = [
        {
            "id": answer,
            "images": [0],
            "conversations": [{"from": "human", "value": "Which?"}, {"from": "gpt", "value": answer}],
        }
        for answer in answers
    ]
    tokenizer = model.processor.tokenizer
    rows = [encode(record_messages(record), tokenizer=tokenizer, image_tokens=[16]) for record in records]
    width = max(len(row.input_ids) for row in rows)
    return {
        "input_ids": _pad([row.input_ids for row in rows], tokenizer.pad_token_id, width),
        "attention_mask": _pad([[1] * len(row.input_ids) for row in rows], 0, width),
        "labels": _pad([row.labels for row in rows], -100, width),
        "mm_token_type_ids": _pad([row.mm_token_type_ids for row in rows], 0, width),
        **_pictures(len(rows)),
    }


def test_language_loss_equals_the_stock_model(model):
    batch = _question_batch(model)
    stock = model.vlm(**{key: value for key, value in batch.items() if key != "labels"}).logits[:, :-1]
    expected = F.cross_entropy(stock.flatten(0, 1), batch["labels"][:, 1:].flatten())
    torch.testing.assert_close(model(**batch)["loss"], expected, atol=1e-5, rtol=1e-5)


def test_robot_rows_and_conversations_in_one_call(model):
    batches = {"robot": _robot_batch(model), "spatial": _question_batch(model)}
    together = model(batches=batches)
    assert together.keys() == batches.keys()
    for name, batch in batches.items():
        assert torch.equal(together[name]["loss"], model(**batch)["loss"])


def test_hidden_states_equal_the_stock_model_on_every_real_token(model):
    batch = _question_batch(model)
    stock = model.vlm.model(**{key: value for key, value in batch.items() if key != "labels"}).last_hidden_state
    real = batch["attention_mask"].bool()
    torch.testing.assert_close(model.encode(batch)[real], stock[real], atol=1e-5, rtol=1e-5)


def test_a_conversation_without_a_picture_is_fine(model):
    batch = _question_batch(model)
    ids = batch["input_ids"].masked_fill(batch["input_ids"] == model.config.image_token_id, 5)
    text = {key: batch[key] for key in ("attention_mask", "labels")} | {"input_ids": ids}
    assert torch.isfinite(model(**text)["loss"])


def test_padding_does_not_change_a_prediction(model):
    both = model.predict(_robot_batch(model))
    alone = model.predict(
        _robot_batch(model, tasks=("pick up the milk",)) | {"state": _robot_batch(model)["state"][:1]}
    )
    assert both.shape == (2, 8, 7)
    torch.testing.assert_close(both[:1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("change", ["state", "pixels", "camera order", "task"])
def test_a_prediction_depends_on_every_input(model, change):
    batch = _robot_batch(model, tasks=("pick up the milk",))
    before = model.predict(batch)
    if change == "state":
        batch["state"] = batch["state"] + 1
    elif change == "pixels":
        batch["pixel_values"] = batch["pixel_values"].roll(1, dims=0)
    elif change == "camera order":
        batch["pixel_values"] = batch["pixel_values"].roll(64, dims=0)
    else:
        batch["input_ids"][0, -15] += 1
    assert (model.predict(batch) - before).abs().max() > 1e-6


def test_the_camera_embedding_tells_cameras_apart(model):
    batch = _robot_batch(model)
    before = model.predict(batch)
    with torch.no_grad():
        model.camera_embedding[1] += 1.0
    assert (model.predict(batch) - before).abs().max() > 1e-6


def test_robot_rows_can_be_learnt(model):
    batch = _robot_batch(model)
    batch["actions"] = torch.where(torch.arange(2)[:, None, None] == 0, 0.8, -0.8).expand(2, 8, 7)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    first = model(**batch)["loss"].item()
    for _ in range(10):
        optimizer.zero_grad()
        loss = model(**batch)["loss"]
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.5 * first
    assert all(p.grad is not None for n, p in model.named_parameters() if "lm_head" not in n)


def test_gradient_checkpointing_changes_nothing(model):
    batch = _robot_batch(model)
    gradients = []
    for switch in (model.gradient_checkpointing_disable, model.gradient_checkpointing_enable):
        switch()
        model.train().zero_grad()
        model(**batch)["loss"].backward()
        gradients.append(model.vlm.model.visual.patch_embed.proj.weight.grad.clone())
    torch.testing.assert_close(gradients[0], gradients[1])


def test_bfloat16_backbone_trains_and_predicts_float32():
    model = VLAModel(load_backbone("tiny", dtype="bfloat16"), spec=ModelSpec())
    batch = _robot_batch(model)
    model(**batch)["loss"].backward()
    assert model.predict(batch).dtype == torch.float32
    assert model.vlm.dtype == torch.bfloat16


def test_a_policy_round_trips_and_plain_transformers_reads_it(model, tmp_path):
    batch, questions = _robot_batch(model), _question_batch(model)
    expected = model.eval().predict(batch)
    model.save(tmp_path / "policy")
    loaded = VLAModel.load(tmp_path / "policy")
    assert torch.equal(loaded.predict(batch), expected)
    assert (loaded.spec, loaded.norm_stats) == (model.spec, STATS)
    plain = Qwen2_5_VLForConditionalGeneration.from_pretrained(tmp_path / "policy").eval()
    ours, theirs = (m(**questions).logits for m in (model.vlm, plain))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_saving_again_replaces_and_leaves_no_litter(model, tmp_path):
    model.save(tmp_path / "policy")
    (tmp_path / "policy" / "stale").write_text("old")
    model.save(tmp_path / "policy")
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    assert not (tmp_path / "policy" / "stale").exists()


def test_a_failed_save_keeps_the_old_checkpoint(model, tmp_path, monkeypatch):
    model.save(tmp_path / "policy")

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(model.processor, "save_pretrained", full_disk)
    with pytest.raises(OSError, match="free some disk space"):
        model.save(tmp_path / "policy")
    assert [path.name for path in tmp_path.iterdir()] == ["policy"]
    VLAModel.load(tmp_path / "policy")


def test_a_folder_of_other_things_is_never_replaced(model, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(ValueError, match="not a checkpoint"):
        model.save(tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_a_policy_without_statistics_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="no normalisation statistics"):
        VLAModel(load_backbone("tiny"), spec=ModelSpec()).save(tmp_path / "policy")


def test_robot_rows_need_a_head(model):
    batch = _robot_batch(model)
    with pytest.raises(ValueError, match="without an action head"):
        VLAModel(load_backbone("tiny"))(**batch)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("norm_stats.json", None, "no normalisation statistics at"),
        ("norm_stats.json", NormStats({"action": _feature(7)}).to_json(), "no 'observation.state', expected width 8"),
        ("norm_stats.json", NormStats({**STATS.features, "action": _feature(6)}).to_json(), "6 wide, expected 7"),
        ("vst_vla.json", None, "no action head"),
        ("vst_vla.json", "{", "not JSON"),
        ("vst_vla.json", '{"format": 99}', "format 99, expected 1"),
        ("head.safetensors", None, "no action head weights"),
    ],
)
def test_an_incomplete_policy_is_refused_in_one_line(model, tmp_path, file, content, message):
    model.save(tmp_path / "policy")
    if content is None:
        (tmp_path / "policy" / file).unlink()
    else:
        (tmp_path / "policy" / file).write_text(content)
    with pytest.raises(ValueError, match=message) as caught:
        VLAModel.load(tmp_path / "policy")
    assert "\n" not in str(caught.value)


def test_a_head_of_another_shape_is_refused(model, tmp_path):
    model.save(tmp_path / "policy")
    path = tmp_path / "policy" / "vst_vla.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps(spec | {"head": {"name": "parallel", "chunk": 4}}))
    with pytest.raises(ValueError, match=r"shape \(8, 192\) for 'head.queries', expected \(4, 192\)"):
        VLAModel.load(tmp_path / "policy")


def test_a_missing_folder_is_named():
    with pytest.raises(ValueError, match="no checkpoint folder at 'nowhere'"):
        VLAModel.load("nowhere")


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"chunks": 8}, "unknown entry"), ({"action": {"names": ["x"]}}, "describes no low, high")],
)
def test_a_strange_spec_is_refused(changes, message):
    content = json.loads(ModelSpec().to_json()) | changes
    with pytest.raises(ValueError, match=message):
        ModelSpec.from_json(json.dumps(content))


def test_spec_round_trips():
    spec = ModelSpec(state=None, image_keys=("a",), crop=0.9, revision="abc", head={"name": "parallel", "chunk": 3})
    assert ModelSpec.from_json(spec.to_json()) == spec
    assert spec.chunk == 3
