"""Backbones by name and by folder, freezing, LoRA."""

import json

import httpx
import pytest
import torch
from huggingface_hub import HfApi
from safetensors import safe_open

from vst_vla.vla.backbone import add_lora, freeze, load_backbone
from vst_vla.vla.model import VLAModel


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("backbone") / "tiny"
    VLAModel(load_backbone("tiny")).save(path)
    return path


def _weights(backbone):
    return torch.cat([parameter.flatten() for parameter in backbone.model.parameters()])


def test_tiny_is_three_million_parameters_with_the_tokenizers_ids():
    backbone = load_backbone("tiny")
    config, tokenizer = backbone.model.config, backbone.processor.tokenizer
    assert 2.5e6 < sum(p.numel() for p in backbone.model.parameters()) < 3.5e6
    assert config.image_token_id == tokenizer.convert_tokens_to_ids("<|image_pad|>")
    assert config.text_config.vocab_size >= len(tokenizer)
    assert backbone.hidden_dim == 192
    assert backbone.model.lm_head.weight is backbone.model.get_input_embeddings().weight


def test_the_seed_decides_the_weights_and_leaves_the_global_generator_alone():
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    first, second, other = (load_backbone("tiny", seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(1), expected)
    assert torch.equal(_weights(first), _weights(second))
    assert not torch.equal(_weights(first), _weights(other))


def test_a_saved_backbone_loads_with_the_same_weights_and_words(folder):
    loaded, original = load_backbone(str(folder)), load_backbone("tiny")
    assert torch.equal(_weights(loaded), _weights(original))
    text = "pick up the milk 0.25"
    assert loaded.processor.tokenizer(text).input_ids == original.processor.tokenizer(text).input_ids


def test_files_carry_the_released_checkpoints_names(folder):
    with safe_open(folder / "model.safetensors", framework="pt") as file:
        names = set(file.keys())
    assert {"model.embed_tokens.weight", "model.layers.0.self_attn.q_proj.weight"} <= names
    assert {"visual.patch_embed.proj.weight", "visual.merger.mlp.0.weight"} <= names
    assert not any(name.startswith(("model.visual", "model.language_model")) for name in names)


def test_dtype_is_honoured(folder):
    assert load_backbone(str(folder), dtype="bfloat16").model.dtype == torch.bfloat16
    assert load_backbone("tiny", dtype=torch.bfloat16).model.dtype == torch.bfloat16


def test_unknown_names_get_a_hint():
    with pytest.raises(ValueError, match="did you mean 'vst-3b-sft'"):
        load_backbone("vst-3b-stf")
    with pytest.raises(ValueError, match=r"no backbone folder at '\./nowhere'"):
        load_backbone("./nowhere")


def test_an_unreachable_hub_is_one_line_that_says_what_to_do(monkeypatch, tmp_path):
    def refuse(*_args, **_kwargs):
        raise httpx.ConnectError("no network")

    monkeypatch.setattr(HfApi, "repo_info", refuse)
    monkeypatch.setattr("vst_vla.vla.hub.CACHE", str(tmp_path))
    with pytest.raises(ValueError, match="pass a local checkpoint folder") as caught:
        load_backbone("vst-3b-sft")
    assert "\n" not in str(caught.value)


def _without(name):
    return lambda folder: (folder / name).unlink()


def _as_llava(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "llava"}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("config.json"), "no config.json"),
        (_without("model.safetensors"), r"no \*\.safetensors"),
        (_without("processor_config.json"), "no processor files"),
        (_as_llava, "model_type 'llava', expected 'qwen2_5_vl'"),
    ],
)
def test_a_broken_folder_is_named(folder, tmp_path, damage, message):
    copy = tmp_path / "copy"
    copy.mkdir()
    for path in folder.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    damage(copy)
    with pytest.raises(ValueError, match=message):
        load_backbone(str(copy))


def test_freezing_stops_exactly_the_named_part():
    backbone = load_backbone("tiny")
    freeze(backbone, parts=["vision"])
    for name, parameter in backbone.model.named_parameters():
        frozen = ".visual." in name and ".merger." not in name
        assert parameter.requires_grad is not frozen, name
    with pytest.raises(ValueError, match="did you mean 'vision'"):
        freeze(backbone, parts=["vison"])


def test_lora_trains_adapters_only_and_saves_merged(tmp_path):
    backbone = load_backbone("tiny")
    add_lora(backbone, rank=2, parts=["language", "vision", "merger"])
    trainable = {name for name, p in backbone.model.named_parameters() if p.requires_grad}
    assert trainable
    assert all(".lora_" in name for name in trainable)
    with torch.no_grad():
        for name, parameter in backbone.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.01)
    VLAModel(backbone).save(tmp_path / "merged")
    ids = torch.arange(12)[None]
    expected = backbone.model(input_ids=ids).logits
    torch.testing.assert_close(load_backbone(str(tmp_path / "merged")).model(input_ids=ids).logits, expected)
    assert (expected - load_backbone("tiny").model(input_ids=ids).logits).abs().max() > 1e-4


def test_lora_bad_options():
    with pytest.raises(ValueError, match="did you mean 'language'"):
        add_lora(load_backbone("tiny"), parts=["langauge"])
    with pytest.raises(ValueError, match="rank is 0"):
        add_lora(load_backbone("tiny"), rank=0)
