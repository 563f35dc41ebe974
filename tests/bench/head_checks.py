"""What every action head must do on eight real samples, insulation's gradients, and VST's own data path, as a record.

    python tests/bench/head_checks.py --data outputs/tables/heads/demos/thirty

Each head learns the samples by heart from random weights and gives them back, before and after its checkpoint. For
`vst_parity` the tiny backbone is saved in the released checkpoints' format and trained for one step by the verb.
"""

from __future__ import annotations

import argparse
import json
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from vst_vla.envs.revision import code_revision
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEY, TASK_KEY
from vst_vla.vla.data.collate import Batch
from vst_vla.vla.data.robot import RobotDataset
from vst_vla.vla.files import write_json
from vst_vla.vla.heads.tokens import WORDS, actions_of, words_of
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel
from vst_vla.vla.transforms import action_normalizer

SAMPLES = SimpleNamespace(**runpy.run_path(str(Path(__file__).parents[1] / "vla" / "head_batches.py")))
STRIDE = 9  # frames between two samples
HEADS: dict[str, dict[str, Any]] = {
    "parallel": {"head": {"name": "parallel", "chunk": 8}, "steps": 800},
    "flow": {"head": {"name": "flow", "chunk": 8, "width": 1.0, "draws": 16}, "steps": 800},
    "tokens": {"head": {"name": "tokens", "chunk": 8}, "steps": 300, "clip": 1.0},
    "tokens, one step": {"head": {"name": "tokens", "chunk": 1}, "steps": 300, "clip": 1.0},
    "fast": {"head": {"name": "fast", "chunk": 8, "num_words": 300}, "steps": 300},
}


def learn_by_heart(data: Path, out: Path, case: dict[str, Any]) -> dict[str, Any]:
    """One head's losses, and how far its actions are off; `clip` for a head that cuts off what lies outside."""
    model = SAMPLES.make_model(data, case["head"])
    batch = SAMPLES.make_batch(data, model, stride=STRIDE)
    losses = SAMPLES.overfit(model, batch, steps=case["steps"], lr=3e-3)
    worst = SAMPLES.worst_error(model, batch, clip=case.get("clip"))
    predicted = model.predict(batch)
    model.save(out)
    again = VLAModel.load(out).predict(batch)
    return {
        "steps": case["steps"],
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "largest_action_error": worst,
        "largest_change_by_saving": float((again - predicted).abs().max()),
        "largest_change_by_normalising_back": normalised_back(data, model, batch),
    }


def normalised_back(data: Path, model: VLAModel, batch: Batch) -> float:
    """The largest difference between the samples' actions, normalised and back, and those of the file."""
    assert model.spec is not None
    assert model.norm_stats is not None
    physical = action_normalizer(model.spec, stats=model.norm_stats).denormalize(batch["actions"]).numpy()
    frames = RobotDataset(data, chunk=model.spec.chunk)
    return float(max(np.abs(row - frames[STRIDE * i][ACTION_KEY]).max() for i, row in enumerate(physical)))


def insulation(data: Path) -> dict[str, float]:
    """The norm of the backbone's gradient from the flow loss, by the share that is let through."""
    model = SAMPLES.make_model(data, HEADS["flow"]["head"])
    batch = SAMPLES.make_batch(data, model, stride=STRIDE)
    norms = {}
    for share in (1.0, 0.25, 0.0):
        model.head.backbone_gradient = share  # type: ignore[union-attr]
        norms[str(share)] = float(np.linalg.norm(list(SAMPLES.gradient_norms(model, batch).values())))
    return norms


def token_table() -> dict[str, int]:
    """In how many of 100,000 numbers words and what they read as differ from upstream's digitize and bin centres."""
    values = np.linspace(-1.2, 1.2, 100_000).astype(np.float32)
    edges = np.linspace(-1, 1, 256)
    bins = np.digitize(np.clip(values, -1, 1), edges)
    words = words_of(torch.from_numpy(values))
    centres = ((edges[:-1] + edges[1:]) / 2)[np.clip(bins - 1, 0, 254)].astype(np.float32)
    return {
        "numbers": len(values),
        "other_words": int((words.numpy() != len(WORDS) - bins).sum()),
        "read_otherwise": int((actions_of(words).numpy() != centres).sum()),
    }


def parity(data: Path, out: Path) -> dict[str, Any]:
    """What `recipe=vst_parity` shows a backbone in the released format, beside upstream's prompt."""
    VLAModel(load_backbone("tiny")).save(out / "backbone")
    small = ["steps=1", "batch_size=1", "num_workers=0", "bf16=false", "gradient_checkpointing=false"]
    words = ["recipe=vst_parity", f"backbone.name={out / 'backbone'}", f"data.robot={data}", f"out={out / 'policy'}"]
    verb = [sys.executable, "-m", "vst_vla.scripts.cli", "train", *words, *(f"recipe.{word}" for word in small)]
    subprocess.run(verb, check=True)
    model = VLAModel.load(out / "policy" / "model")
    sample = RobotDataset(data, chunk=1)[0]
    batch = InferencePipeline(model).inputs([{IMAGE_KEY: sample[IMAGE_KEY], TASK_KEY: "Pick up the milk"}])
    tokenizer = model.processor.tokenizer
    upstream = (
        "<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * 81 + "<|vision_end|>"
        "What action should the robot take to pick up the milk?<|im_end|>\n<|im_start|>assistant\n"
    )
    grid = batch["image_grid_thw"].tolist()
    return {
        "backbone": "tiny, random, saved and loaded as the released folders are",
        "prompt_is_upstreams": tokenizer.decode(batch["input_ids"][0]) == upstream,
        "ids_are_those_of_the_text": batch["input_ids"][0].tolist() == tokenizer.encode(upstream),
        "pictures": len(grid),
        "picture_px": [14 * grid[0][1], 14 * grid[0][2]],
        "visual_tokens": int((batch["input_ids"] == model.config.image_token_id).sum()),
        "has_state": model.spec is not None and model.spec.state is not None,
        "chunk": model.spec.chunk if model.spec else None,
    }


def main() -> int:
    """Runs all of it and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("outputs/tables/heads/demos/thirty"))
    parser.add_argument("--out", type=Path, default=Path("docs/results/head_checks.json"))
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        heads = {}
        for number, (name, case) in enumerate(HEADS.items()):
            heads[name] = learn_by_heart(given.data, Path(made) / str(number), case)
            print(name, json.dumps(heads[name]), flush=True)
        record = {
            "command": f"python tests/bench/head_checks.py --data {given.data}",
            "revision": code_revision(),
            "samples": f"8 of {given.data}, {STRIDE} frames apart, {SAMPLES.SIZE} px",
            "heads": heads,
            "backbone_gradient_norm_by_share": insulation(given.data),
            "token_table": token_table(),
            "vst_parity": parity(given.data, Path(made)),
        }
    write_json(given.out, record)
    print(json.dumps(record, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
