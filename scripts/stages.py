"""Verbs in a row: each stage resumes by itself, and the time that each has taken is kept beside what it made."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vst_vla.scripts.memory import PeakMemory
from vst_vla.vla.files import write_json


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One verb of a recipe; stages of one name are counted together."""

    name: str
    verb: str
    run: Callable[[list[str]], int]
    arguments: list[str]


class Progress:
    """Seconds by stage and the highest memory so far, kept in a file, so that an interrupted recipe counts them too.

    Processes that share the stages of a recipe share the file: each adds to what it holds at that moment.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read()

    def _read(self) -> None:
        before = json.loads(self._path.read_text()) if self._path.is_file() else {}
        self.seconds: dict[str, float] = before.get("seconds", {})
        self.peak_gib: float = before.get("peak_gib", 0.0)

    def add(self, stage: str, *, seconds: float, peak_gib: float) -> None:
        """Counts `seconds` more for `stage`; repeating a finished stage takes next to nothing."""
        self._read()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
        self.peak_gib = max(self.peak_gib, peak_gib)
        write_json(self._path, {"seconds": self.seconds, "peak_gib": self.peak_gib})


def run_stages(stages: Sequence[Stage], *, progress: Progress) -> int:
    """Runs the stages until one fails; returns its exit status, or 0."""
    with PeakMemory() as memory:
        for number, stage in enumerate(stages, start=1):
            print(
                f"\n[{number}/{len(stages)}] {stage.name}: vst-vla {stage.verb} {' '.join(stage.arguments)}", flush=True
            )
            start = time.monotonic()
            try:
                status = stage.run(stage.arguments)
            finally:
                progress.add(stage.name, seconds=time.monotonic() - start, peak_gib=memory.peak_gib)
            if status != 0:
                return status
    return 0


def overrides(settings: dict[str, Any], *, prefix: str = "") -> list[str]:
    """A nested dictionary as Hydra overrides, in order."""
    flat: list[str] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            flat += overrides(value, prefix=f"{prefix}{key}.")
        else:
            flat.append(f"{prefix}{key}={_text(value)}")
    return flat


def _text(value: Any) -> str:
    """A value as Hydra reads it."""
    if isinstance(value, list):
        return "[" + ",".join(_text(item) for item in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
