"""Checkpoint folders both ways: what `vst-vla train` writes <-> what LeRobot's programs read and write."""

from __future__ import annotations

import shutil
from pathlib import Path

from vst_vla.policies.lerobot.modeling_vst_vla import CHECKPOINT
from vst_vla.policies.lerobot.processor_vst_vla import make_vst_vla_pre_post_processors
from vst_vla.policies.lerobot.spec import config_of
from vst_vla.vla.checkpoint import SPEC_FILE, replacing
from vst_vla.vla.spec import ModelSpec


def to_lerobot(checkpoint: Path, *, out: Path) -> None:
    """Makes LeRobot's folder of a policy: `lerobot-eval --policy.path=OUT`.

    Args:
        checkpoint: a folder that `vst-vla train` wrote with a head.
        out: the folder to write; one that is there is replaced.

    Raises:
        ValueError: no policy there, or `out` holds something else than a checkpoint.
    """
    if not (checkpoint / SPEC_FILE).is_file():
        raise ValueError(f"no policy at '{checkpoint}' ({SPEC_FILE} is missing): give the folder that training wrote")
    config = config_of(ModelSpec.from_json((checkpoint / SPEC_FILE).read_text(encoding="utf-8")), device="cpu")
    with replacing(out) as fresh:
        config._save_pretrained(fresh)
        for pipeline in make_vst_vla_pre_post_processors(config):
            pipeline.save_pretrained(fresh)
        shutil.copytree(checkpoint, fresh / CHECKPOINT)


def from_lerobot(folder: Path, *, out: Path) -> None:
    """Takes our checkpoint out of LeRobot's folder: `vst-vla rollout checkpoint=OUT`.

    Args:
        folder: a folder of LeRobot's with a policy of type vst_vla, such as `checkpoints/last/pretrained_model`.
        out: the folder to write; one that is there is replaced.

    Raises:
        ValueError: no such policy there, or `out` holds something else than a checkpoint.
    """
    if not (folder / CHECKPOINT / SPEC_FILE).is_file():
        raise ValueError(f"'{folder}' holds no policy of type vst_vla ({CHECKPOINT}/{SPEC_FILE} is missing)")
    with replacing(out) as fresh:
        shutil.copytree(folder / CHECKPOINT, fresh, dirs_exist_ok=True)
