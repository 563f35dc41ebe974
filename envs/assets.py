"""LIBERO's asset folder: found on this machine, downloaded, or written by us; and LIBERO made ready to use it.

`find_assets` decides which folder a run uses and `prepare_libero` points the simulator at it. A process finds the
assets once and hands the `Assets` to its workers, which never search or touch the network:

    assets = find_assets("libero_object")
    prepare_libero(assets)              # before anything imports robosuite or libero.libero.envs
    from libero.libero.envs import TASK_MAPPING
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from vst_vla.envs import download, libraries, quiet
from vst_vla.envs.placeholders import PLACEHOLDER_MARK, PLACEHOLDER_SUITES, write_placeholders
from vst_vla.envs.suites import libero_root

ASSETS_VARIABLE = "VST_VLA_LIBERO_ASSETS"
PLACEHOLDER = "placeholder"
STAND_IN_MARK = "STAND_INS.txt"
SUBFOLDERS = ("articulated_objects", "stable_scanned_objects", "turbosquid_objects", "stable_hope_objects")
"""What hf-libero looks for before it calls an asset folder complete; ours must also hold `scenes` and `textures`."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Assets:
    """One asset folder: what the simulator draws and collides with. Small, picklable, safe to send to workers."""

    path: Path
    kind: str
    """"official", "stand-in" (official, but for some visuals) or "placeholder" (made of primitives)."""


def find_assets(suite: str) -> Assets:
    """The assets for `suite`, from the first place that has any: VST_VLA_LIBERO_ASSETS (a folder, or the word
    `placeholder`), the folder that hf-libero uses, a download into it, and for libero_object our own placeholders.

    Where the hub does not answer, the download is given up within ten seconds, once a process.

    Raises ValueError when the variable names something else than a LIBERO asset folder, or when nothing can be had.
    """
    found = local_assets(suite)
    if found is not None:
        return found
    reason = download.hub_silence() or download.fetch_assets(hub_cache())
    if reason is None:
        return assets_in(hub_cache(), suite=suite)
    log.warning("LIBERO's assets could not be downloaded (%s)", reason)
    return _placeholders(suite, reason=f"its assets could not be downloaded ({reason})")


def local_assets(suite: str) -> Assets | None:
    """What `find_assets` finds without the network: the variable's assets, or hf-libero's, or None."""
    wanted = os.environ.get(ASSETS_VARIABLE)
    if wanted == PLACEHOLDER:
        return _placeholders(suite, reason=f"{ASSETS_VARIABLE}={PLACEHOLDER} asks for placeholders")
    if wanted:
        return assets_in(Path(wanted), suite=suite)
    installed = _installed_folder()
    return None if installed is None else Assets(installed, _kind(installed))


def assets_in(folder: Path, *, suite: str) -> Assets:
    """`folder` as assets for `suite`, resolved. ValueError names what is missing when it is not such a folder."""
    path = folder.expanduser().resolve()
    if not path.is_dir():
        raise ValueError(
            f"no asset folder '{folder}': set {ASSETS_VARIABLE} to a folder with LIBERO's assets, "
            f"or to the word {PLACEHOLDER}"
        )
    kind = _kind(path)
    if kind == PLACEHOLDER:
        _require_placeholder_suite(suite, reason=f"'{folder}' holds placeholders")
        return Assets(path, kind)
    missing = [name for name in (*SUBFOLDERS, "scenes", "textures") if not (path / name).is_dir()]
    if missing:
        raise ValueError(
            f"'{folder}' is not a LIBERO asset folder: it lacks {', '.join(missing)}; point {ASSETS_VARIABLE} at the "
            f"folder that holds them, or set it to the word {PLACEHOLDER}"
        )
    return Assets(path, kind)


def prepare_libero(assets: Assets) -> None:
    """Makes this process's LIBERO use `assets`, ask nothing and print nothing. Call it before other LIBERO imports.

    Sets MUJOCO_GL (to egl) and LIBERO_CONFIG_PATH where the user has not; leaves an existing ~/.libero alone. May be
    called again, with the same assets or others. Raises ValueError naming the package that brings a missing system
    library or graphics driver.
    """
    libraries.choose_renderer()
    libraries.require_libraries()
    libraries.require_display()
    quiet.write_libero_config(assets.path)
    quiet.import_simulator()
    quiet.use_assets(assets.path)


def hub_cache() -> Path:
    """The folder into which hf-libero itself downloads the assets."""
    return Path.home() / ".cache" / "libero" / "assets"


def _installed_folder() -> Path | None:
    """The folder that hf-libero would use without a download: inside its package, else its complete cache."""
    for folder in (libero_root() / "assets", hub_cache()):
        if all((folder / name).is_dir() for name in SUBFOLDERS):
            return folder.resolve()
    return None


def _kind(path: Path) -> str:
    if (path / PLACEHOLDER_MARK).is_file():
        return PLACEHOLDER
    return "stand-in" if (path / STAND_IN_MARK).is_file() else "official"


def _placeholders(suite: str, *, reason: str) -> Assets:
    _require_placeholder_suite(suite, reason=reason)
    return Assets(write_placeholders(), PLACEHOLDER)


def _require_placeholder_suite(suite: str, *, reason: str) -> None:
    if suite not in PLACEHOLDER_SUITES:
        raise ValueError(
            f"no assets for {suite}: {reason}, and placeholders exist for {', '.join(PLACEHOLDER_SUITES)} only; "
            f"go online and run again, or copy the hub's dataset {download.HUB_DATASET} into {_tilde(hub_cache())}, "
            f"or set {ASSETS_VARIABLE} to a folder that holds it"
        )


def _tilde(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
