"""What must be the same for a run to go on: written when it starts, compared when its command is given again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vst_vla.vla.files import write_json

SETTINGS = "settings.json"


def claim_run(folder: Path, settings: Mapping[str, Any], *, out: Path, advice: str) -> None:
    """Writes FOLDER/settings.json, or compares it with the one that is there.

    Args:
        folder: where the run keeps its state.
        settings: plain JSON values, nested as they like.
        out: what the user called the run.
        advice: what to do about another run's settings.

    Raises:
        ValueError: naming the first setting that differs, with both values.
    """
    path = folder / SETTINGS
    if not path.is_file():
        write_json(path, dict(settings))
        return
    before, now = _flat(json.loads(path.read_text())), _flat(settings)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            found = f"{out} holds a run with {key}={before.get(key)}, this one has {now.get(key)}"
            raise ValueError(f"{found}: {advice}")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
