"""Hydra, in one place: a verb's yaml plus the user's `key=value` overrides -> a plain dict.

Every verb's `--help` is its yaml's own header comment and its keys with their defaults, so help cannot drift from them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

import vst_vla.configs
from vst_vla.vla.contracts import near_miss, unknown_name

CONFIGS = Path(next(iter(vst_vla.configs.__path__))).resolve()


class HelpShown(Exception):
    """Raised after `--help` was printed: nothing is left to do."""


def compose(verb: str, argv: list[str]) -> dict[str, Any]:
    """The verb's configuration as plain Python values.

    Args:
        verb: name of a top-level yaml in `configs/`.
        argv: Hydra overrides, such as `suite=libero_goal` or `recipe.steps=100`.

    Raises:
        HelpShown: after printing help for `-h` or `--help`.
        ValueError: for an unknown key (with a near-miss hint), a malformed override or a missing value.
    """
    if {"-h", "--help"} & set(argv):
        print(describe(verb))
        raise HelpShown
    _check_form(verb, argv)
    known = sorted(_leaves(_load(verb, [a for a in argv if _is_group(a)])))
    _check_keys(verb, argv, known)
    try:
        config = _load(verb, argv)
        values = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        key = getattr(error, "full_key", None)
        raise ValueError(f"{verb}: give {key}=…, it has no default" if key else _first_line(error)) from error
    except HydraException as error:
        raise ValueError(f"{verb}: {_first_line(error)}") from error
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}


def describe(verb: str) -> str:
    """The help text: the yaml's header comment, then every key with its default."""
    source = (CONFIGS / f"{verb}.yaml").read_text()
    header = [line[1:].removeprefix(" ") for line in source.splitlines() if line.startswith("#")]
    config = _load(verb, [])
    keys = [f"  {key}={_show(config, key)}" for key in _leaves(config)]
    return "\n".join([f"usage: vst-vla {verb} [key=value …]", "", *header, "", "keys and their defaults:", *keys])


def read_yaml(folder: str, name: str, *, kind: str) -> dict[str, Any]:
    """The content of configs/FOLDER/NAME.yaml. Raises ValueError, with a near-miss hint, when there is none."""
    choices = sorted(path.stem for path in (CONFIGS / folder).glob("*.yaml"))
    if name not in choices:
        raise unknown_name(kind, name, choices)
    values = OmegaConf.to_container(OmegaConf.load(CONFIGS / folder / f"{name}.yaml"), resolve=True)
    assert isinstance(values, dict)
    return {str(k): v for k, v in values.items()}


def _load(verb: str, overrides: list[str]) -> DictConfig:
    with initialize_config_dir(str(CONFIGS), version_base=None):
        return hydra_compose(verb, overrides=overrides)


def _show(config: DictConfig, key: str) -> str:
    if OmegaConf.is_missing(config, key):
        return "(required)"
    value = OmegaConf.select(config, key)
    return "null" if value is None else str(value)


def _leaves(config: DictConfig, prefix: str = "") -> Iterator[str]:
    for key in map(str, config):
        node = None if OmegaConf.is_missing(config, key) else config[key]
        if isinstance(node, DictConfig) and len(node):
            yield from _leaves(node, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _key(override: str) -> str:
    return override.split("=", 1)[0].lstrip("+~")


def _is_group(override: str) -> bool:
    """Whether an override chooses a yaml of a group (backbone=vst-3b-sft) rather than setting a value."""
    return (CONFIGS / _key(override)).is_dir()


def _check_form(verb: str, argv: list[str]) -> None:
    for override in argv:
        if not re.match(r"^[+~]{0,2}[\w./@-]+=", override):
            raise ValueError(f"cannot read '{override}': give key=value, see `vst-vla {verb} --help`")
        if _is_group(override):
            _check_group(_key(override), override.split("=", 1)[1])


def _check_group(group: str, name: str) -> None:
    choices = sorted(p.stem for p in (CONFIGS / group).glob("*.yaml"))
    if name not in choices:
        raise ValueError(f"unknown {group} '{name}': {near_miss(name, choices)}")


def _check_keys(verb: str, argv: list[str], known: list[str]) -> None:
    parents = {key.rsplit(".", n)[0] for key in known for n in range(1, key.count(".") + 1)}
    for override in argv:
        key = _key(override)
        inside = any(key.startswith(f"{k}.") for k in known)  # a key of an open dictionary such as families
        if not (override.startswith("+") or _is_group(override) or key in known or key in parents or inside):
            raise ValueError(f"unknown key '{key}' for {verb}: {near_miss(key, known)}")


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
