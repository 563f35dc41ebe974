"""Fetches released checkpoints and datasets from the hub or finds them in its cache; gives up fast when offline."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.constants import HF_HUB_CACHE

CACHE = HF_HUB_CACHE
TIMEOUT_S = 10.0
_CHECKPOINT_FILES = ["*.json", "*.safetensors", "*.txt", "*.jinja"]
_DATASET_FILES = ["meta/*", "data/*", "videos/*"]


def fetch_checkpoint(hub_id: str, *, revision: str | None = None) -> tuple[Path, str]:
    """The local folder of a hub checkpoint and its commit; an unreachable hub falls back to the cache.

    Raises:
        ValueError: neither the hub nor the cache has it.
    """
    folder = _fetch(hub_id, kind="model", files=_CHECKPOINT_FILES, revision=revision)
    return folder, folder.name


def dataset_folder(source: str | Path) -> Path:
    """The folder of a dataset: `source` itself, or where the hub dataset of that name (`owner/name`) was fetched to.

    Raises:
        ValueError: there is no such folder, and neither the hub nor the cache has such a dataset.
    """
    path = Path(source)
    if path.is_dir():
        return path
    if isinstance(source, Path) or not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source) or path.parent.is_dir():
        raise ValueError(
            f"no dataset folder '{source}': give a folder made by `vst-vla demos`, or a hub name owner/name"
        )
    return _fetch(source, kind="dataset", files=_DATASET_FILES, revision=None)


def _fetch(hub_id: str, *, kind: str, files: list[str], revision: str | None) -> Path:
    try:
        commit = HfApi().repo_info(hub_id, repo_type=kind, revision=revision, timeout=TIMEOUT_S).sha
        return Path(snapshot_download(hub_id, repo_type=kind, revision=commit, cache_dir=CACHE, allow_patterns=files))
    except (OSError, httpx.HTTPError) as error:
        return _cached(hub_id, kind=kind, files=files, revision=revision, reason=error)


def _cached(hub_id: str, *, kind: str, files: list[str], revision: str | None, reason: Exception) -> Path:
    try:
        return Path(
            snapshot_download(
                hub_id,
                repo_type=kind,
                revision=revision,
                cache_dir=CACHE,
                allow_patterns=files,
                local_files_only=True,
            )
        )
    except OSError:
        detail = str(reason).partition("\n")[0]
        noun = "checkpoint" if kind == "model" else kind
        raise ValueError(
            f"cannot fetch '{hub_id}' from the hub ({detail}) and it is not cached: pass a local {noun} folder"
        ) from reason
