"""`vst-vla train`: spatial tuning, or a policy co-trained with spatial questions; see configs/train.yaml."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from vst_vla.scripts.config import compose


def main(argv: list[str]) -> int:
    """Composes the configuration and trains; OUT/model is the result."""
    config = compose("train", argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from vst_vla.vla.data.robot import ReaderOptions
    from vst_vla.vla.train.recipe import Recipe
    from vst_vla.vla.train.run import train

    data, out = config["data"], Path(config["out"])
    if data["robot"] is None and data["spatial"] is None:
        raise ValueError("nothing to train on: give data.robot=FOLDER, data.spatial=FOLDER, or both")
    if config["overwrite"]:
        for name in ("run", "model"):
            shutil.rmtree(out / name, ignore_errors=True)
    folder = train(
        out,
        recipe=Recipe.from_dict(config["recipe"]),
        backbone=config["backbone"]["name"],
        head=config["head"],
        robot=data["robot"],
        reader=ReaderOptions.from_dict(data["reader"]),
        spatial=data["spatial"],
        seed=config["seed"],
    )
    print(f"checkpoint: {folder}")
    return 0
