"""Placeholder assets on disk, in the user's cache: one folder a version of the table, complete or absent."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

from vst_vla.envs.placeholders.mjcf import scene_mjcf, thing_mjcf
from vst_vla.envs.placeholders.table import THINGS
from vst_vla.envs.placeholders.textures import texture_files
from vst_vla.vla.files import cache_root

PLACEHOLDER_MARK = "PLACEHOLDERS.txt"
PLACEHOLDER_SUITES = ("libero_object",)
EXPLANATION = """These are not LIBERO's assets. vst-vla made them of primitives, for the libero_object suite:
same names, frames, masses and sizes, other looks. Delete the folder freely; it is written again when needed.
"""


def placeholder_files() -> dict[str, bytes]:
    """Every file of the folder by its relative path."""
    files = {f"{thing.folder}/{thing.name}/{thing.name}.xml": thing_mjcf(thing).encode() for thing in THINGS}
    files["scenes/libero_floor_base_style.xml"] = scene_mjcf().encode()
    files |= {f"textures/{name}": data for name, data in texture_files().items()}
    files[PLACEHOLDER_MARK] = EXPLANATION.encode()
    return files


def write_placeholders() -> Path:
    """Writes the placeholder folder unless it is there, and returns it. Several processes may do so at once.

    The folder's name is a hash of its content, so another version of the table gets another folder. Raises ValueError
    when the cache cannot be written.
    """
    files = placeholder_files()
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode() + b"\0" + files[name])
    folder = cache_root() / "placeholders" / digest.hexdigest()[:16]
    if not folder.is_dir():
        try:
            _write_folder(folder, files)
        except OSError as error:
            raise ValueError(
                f"cannot write placeholder assets to '{folder}' ({error.strerror}): make room there, "
                "or set XDG_CACHE_HOME to a folder that can be written"
            ) from error
    return folder


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".writing-") as scratch:
        fresh = Path(scratch) / "placeholders"
        for name, data in files.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            (fresh / name).write_bytes(data)
        try:
            fresh.rename(folder)
        except OSError:
            if not folder.is_dir():  # another process was first: its folder has the same content
                raise
