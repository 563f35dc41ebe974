"""`vst-vla train`: spatial tuning, or a policy co-trained with spatial questions; see configs/train.yaml."""

from __future__ import annotations

import os

from vst_vla.scripts.config import compose


def main(argv: list[str]) -> int:
    """Composes the configuration and trains; OUT/model is the result."""
    config = compose("train", argv)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from vst_vla.vla.data.robot import ReaderOptions
    from vst_vla.vla.train.recipe import Recipe
    from vst_vla.vla.train.run import train

    data = config["data"]
    if data["robot"] is None and data["spatial"] is None:
        raise ValueError("nothing to train on: give data.robot=FOLDER, data.spatial=FOLDER, or both")
    folder = train(
        config["out"],
        recipe=Recipe.from_dict(config["recipe"]),
        backbone=config["backbone"]["name"],
        head=config["head"],
        robot=data["robot"],
        reader=ReaderOptions.from_dict(data["reader"]),
        spatial=data["spatial"],
        weights=data["weights"],
        seed=config["seed"],
        overwrite=config["overwrite"],
    )
    print(f"checkpoint: {folder}")
    return 0
