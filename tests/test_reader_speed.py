"""The side-by-side measurement of readers in small: both measured, ratios and circumstances recorded."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vst_vla.scripts.reader_speed import main
from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEYS, LIBERO_ACTION, LIBERO_STATE, STATE_KEY
from vst_vla.vla.data.lerobot_writer import Episode, write_dataset
from vst_vla.vla.data.records import encode_png


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    vectors = {STATE_KEY: rng.normal(size=(40, 8)), ACTION_KEY: rng.uniform(-1, 1, (40, 7))}
    pictures = {
        k: [encode_png(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(40)] for k in IMAGE_KEYS
    }
    episode = Episode(task="wave", vectors={k: v.astype(np.float32) for k, v in vectors.items()}, images=pictures)
    names = {STATE_KEY: LIBERO_STATE.names, ACTION_KEY: LIBERO_ACTION.names}
    write_dataset(tmp_path / "data", [episode], fps=20, robot_type="panda", names=names)
    return tmp_path / "data"


@pytest.mark.slow
def test_both_readers_are_measured_and_recorded(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    settings = ["rounds=1", "warm_epochs=2", "num_workers=0", "batch_size=8"]
    assert main([f"data={folder}", f"out={out}", *settings]) == 0
    record = json.loads(out.read_text())
    (row,) = record["rounds"]
    for kind in ("cold", "warm"):
        assert record[f"{kind}_ratio"]["median"] == pytest.approx(row["vst-vla"][kind] / row["lerobot"][kind])
        assert row["lerobot"][kind] > 0
    assert record["dataset"]["frames"] == 40
    assert {"lerobot", "torch", "python"} <= record["versions"].keys()
    assert record["command"].startswith("python -m vst_vla.scripts.reader_speed data=")
