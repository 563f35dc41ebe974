"""LIBERO's official assets from the Hugging Face hub: asked for by the clock, moved into place when complete."""

from __future__ import annotations

import functools
import re
import shutil
import threading
from pathlib import Path

HUB_DATASET = "lerobot/libero-assets"
PATIENCE_S = 8.0
"""How long the hub may take to answer at all, name look-up included."""


@functools.cache
def hub_silence(*, patience_s: float = PATIENCE_S) -> str | None:
    """Why the hub cannot serve the assets, in a few words, or None when it answers. Asked once a process.

    The question runs in a thread of its own, because a name look-up knows no time limit.
    """
    answers: list[str | None] = []
    asking = threading.Thread(target=lambda: answers.append(_ask_hub(patience_s)), daemon=True)
    asking.start()
    asking.join(patience_s)
    return answers[0] if answers else f"no answer from the hub within {patience_s:g} s"


def fetch_assets(folder: Path) -> str | None:
    """Downloads the assets so that `folder` appears complete or not at all. Returns why not, or None when it worked.

    An interrupted download stays beside it as `<folder>.partial` and is taken up again by the next call.
    """
    from filelock import FileLock
    from huggingface_hub import snapshot_download

    partial = folder.with_name(folder.name + ".partial")
    try:
        partial.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not partial.exists():  # another process finished while this one waited
                return None
            snapshot_download(HUB_DATASET, repo_type="dataset", local_dir=partial)
            shutil.rmtree(partial / ".cache", ignore_errors=True)
            if folder.exists():  # left incomplete by hf-libero, or it would have been used
                shutil.rmtree(folder)
            partial.rename(folder)
    except _network_errors() as error:
        return _one_line(error)
    return None


def _ask_hub(patience_s: float) -> str | None:
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(HUB_DATASET, timeout=patience_s)
    except _network_errors() as error:
        return _one_line(error)
    return None


def _network_errors() -> tuple[type[Exception], ...]:
    """What the hub's client raises for a network, a server or a disk that does not play along."""
    import httpx
    from huggingface_hub.errors import HfHubHTTPError

    return (OSError, httpx.HTTPError, HfHubHTTPError)


def _one_line(error: Exception) -> str:
    text = re.sub(r"^\[Errno -?\d+\] ", "", str(error).strip()).splitlines()
    return text[0].rstrip(".:") if text else type(error).__name__
