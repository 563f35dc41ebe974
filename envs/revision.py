"""Which code this is."""

from __future__ import annotations

import functools
import importlib.metadata
import subprocess
from pathlib import Path


@functools.cache
def code_revision() -> str:
    """The checkout's git commit, with `+` when files were changed since; the package's version outside a checkout."""
    version = importlib.metadata.version("vst-vla")
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return version
    command = ["git", "-C", str(root), "describe", "--always", "--dirty=+", "--abbrev=12", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):  # no git here, or a checkout without a commit
        return version
    return found.stdout.strip()
