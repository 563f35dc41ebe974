"""LIBERO and robosuite without their question, their banner and their chatter; real errors still come through."""

from __future__ import annotations

import hashlib
import importlib
import logging
import os
import warnings
from pathlib import Path

from vst_vla.envs.suites import libero_root
from vst_vla.vla.files import cache_root, write_text

CONFIG_VARIABLE = "LIBERO_CONFIG_PATH"
ROBOSUITE_LOGGER = "robosuite_logs"


def write_libero_config(assets: Path) -> None:
    """Makes sure that the config file exists, without which `import libero.libero` asks a question on stdin.

    A config of the user's, in LIBERO_CONFIG_PATH or ~/.libero, is used as it is. Otherwise one is written in the folder
    that the variable names, or in our own cache, to which the variable is then set.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    folder = Path(named) if named else Path.home() / ".libero"
    if (folder / "config.yaml").is_file():
        return
    package = libero_root().resolve()
    if not named:
        key = hashlib.sha256(str(package).encode()).hexdigest()[:12]
        folder = cache_root() / "libero_config" / key
        os.environ[CONFIG_VARIABLE] = str(folder)
    if not (folder / "config.yaml").is_file():
        _write_config(folder, package, assets)


def import_simulator() -> None:
    """Imports hf-libero's root and robosuite while robosuite's start-up advice is held back."""
    logger = logging.getLogger(ROBOSUITE_LOGGER)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("libero.libero")
            importlib.import_module("robosuite")
    finally:
        logger.setLevel(level)


def use_assets(assets: Path) -> None:
    """Points hf-libero's own memory of the asset folder at `assets`; objects and arenas built from now on use it."""
    importlib.import_module("libero.libero").__dict__["_assets_path_cache"] = str(assets)


def _write_config(folder: Path, package: Path, assets: Path) -> None:
    import yaml

    entries = {
        "benchmark_root": package,
        "bddl_files": package / "bddl_files",
        "init_states": package / "init_files",
        "datasets": package.parent / "datasets",
        "assets": assets,
    }
    write_text(folder / "config.yaml", yaml.safe_dump({key: str(path) for key, path in entries.items()}))
