"""`vst-vla grpo`: reinforcement learning of a backbone on verifiable questions; see configs/grpo.yaml."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vst_vla.scripts.config import compose


def main(argv: list[str]) -> int:
    """Composes the configuration and trains; OUT/model is the result."""
    config = compose("grpo", argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from vst_vla.vla.train.grpo import train_grpo
    from vst_vla.vla.train.rl_recipe import RLRecipe

    recipe, out = RLRecipe.from_dict(config["rl"]), Path(config["out"])
    if config["overwrite"]:
        for name in ("run", "model"):
            shutil.rmtree(out / name, ignore_errors=True)
    folder = train_grpo(
        out, recipe=recipe, data=config["data"], backbone=config["backbone"]["name"], seed=config["seed"]
    )
    print(f"checkpoint: {folder}")
    return 0
