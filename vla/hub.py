"""Fetches a released checkpoint from the hub, or finds it in the cache; gives up fast without a network."""

from __future__ import annotations

from pathlib import Path

import httpx
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.constants import HF_HUB_CACHE

CACHE = HF_HUB_CACHE
TIMEOUT_S = 10.0
_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]


def fetch_checkpoint(hub_id: str, *, revision: str | None = None) -> tuple[Path, str]:
    """The local folder of a hub checkpoint and its commit; an unreachable hub falls back to the cache.

    Raises:
        ValueError: neither the hub nor the cache has it.
    """
    try:
        commit = HfApi().model_info(hub_id, revision=revision, timeout=TIMEOUT_S).sha
        folder = snapshot_download(hub_id, revision=commit, cache_dir=CACHE, allow_patterns=_FILES)
    except (OSError, httpx.HTTPError) as error:
        folder = _cached(hub_id, revision=revision, reason=error)
    return Path(folder), Path(folder).name


def _cached(hub_id: str, *, revision: str | None, reason: Exception) -> str:
    try:
        return snapshot_download(
            hub_id, revision=revision, cache_dir=CACHE, allow_patterns=_FILES, local_files_only=True
        )
    except OSError:
        detail = str(reason).partition("\n")[0]
        raise ValueError(
            f"cannot fetch '{hub_id}' from the hub ({detail}) and it is not cached: pass a local checkpoint folder"
        ) from reason
