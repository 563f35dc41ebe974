"""The backbone for questions: heads that look back, and words that are one token each."""

import pytest
import torch

from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.looking_back import OFFSETS


def _attention(name):
    """Of the first layer, (heads, tokens, tokens), over some text."""
    backbone = load_backbone(name, attention="eager")
    text = "Which is nearer, the red-point kafe or the milk? A bosu, B kafe."
    ids = backbone.processor.tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        return backbone.model(input_ids=ids, output_attentions=True).attentions[0][0]


def test_the_first_layers_heads_look_one_two_and_three_tokens_back():
    weights = _attention("tiny-reader")
    for head, seen in enumerate(weights):
        back = OFFSETS[head % 3]
        assert seen.diagonal(-back).mean() > 0.5, f"head {head}"
        farthest = seen[back:].argmax(-1)
        assert (farthest == torch.arange(len(farthest))).float().mean() > 0.7, f"head {head}"
    plain = _attention("tiny")
    assert all(seen.diagonal(-back)[8:].mean() < 0.2 for seen in plain for back in OFFSETS)


def test_only_biases_differ_from_weights_at_random():
    backbone = load_backbone("tiny-reader")
    biases = {name for name, weight in backbone.model.named_parameters() if name.endswith("bias") and weight.any()}
    attention = "model.language_model.layers.0.self_attn"
    assert biases == {f"{attention}.q_proj.bias", f"{attention}.k_proj.bias"}


@pytest.mark.parametrize(
    ("text", "count"), [("red-point kafebo", 5), ("magenta-point butter", 3), ("farther counterclockwise zunasu", 5)]
)
def test_colours_directions_and_syllables_are_one_token_each(text, count):
    tokenizer = load_backbone("tiny-reader").processor.tokenizer
    assert len(tokenizer.tokenize(f" {text}")) == count
