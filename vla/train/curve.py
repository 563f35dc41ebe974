"""The course of a training run, out of the log that Trainer keeps in its last checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

from vst_vla.vla.train.trainer import STATE_FILE, latest_checkpoint

POINTS = 60
_KEPT = ("loss", "spatial/token_accuracy", "reward", "completions/mean_length")


def training_curve(run_folder: Path, *, points: int = POINTS) -> list[dict[str, float]]:
    """Loss, token accuracy and rewards at about `points` evenly spaced steps; empty for a run without a checkpoint."""
    checkpoint = latest_checkpoint(run_folder)
    if checkpoint is None:
        return []
    history = json.loads((checkpoint / STATE_FILE).read_text())["log_history"]
    rows = [{"step": entry["step"], **_kept(entry)} for entry in history]
    rows = [row for row in rows if len(row) > 1]
    return rows[:: max(1, len(rows) // points)]


def _kept(entry: dict[str, float]) -> dict[str, float]:
    named = {key: value for key, value in entry.items() if key in _KEPT or key.startswith("rewards/")}
    return {key: round(float(value), 5) for key, value in named.items()}
