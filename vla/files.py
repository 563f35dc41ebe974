"""Files that are never half-written: everything goes to a temporary name first and is renamed when whole.

Pure Python, imported by every folder, like `contracts`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def replacing_file(path: Path) -> Iterator[Path]:
    """A temporary sibling to write, renamed to `path` at the end; on failure it is removed and `path` left as it was.

    Its name starts with a dot and holds the process number: no listing shows it, no other process shares it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield fresh
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text, whole or not at all."""
    with replacing_file(path) as fresh:
        fresh.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """Writes readable JSON, whole or not at all."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def cache_root() -> Path:
    """Where this package keeps what it can make again: $XDG_CACHE_HOME/vst-vla, or ~/.cache/vst-vla."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vst-vla"
