"""Action heads by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.heads.base import ActionHead, Sizes, build
from vst_vla.vla.heads.fast import FastHead
from vst_vla.vla.heads.flow import FlowHead
from vst_vla.vla.heads.parallel import ParallelHead
from vst_vla.vla.heads.tokens import TokensHead

HEADS: dict[str, type[ActionHead]] = {head.name: head for head in (ParallelHead, FlowHead, TokensHead, FastHead)}


def make_head(config: Mapping[str, Any], *, sizes: Sizes) -> ActionHead:
    """The head that `config` describes: {"name": one of `HEADS`, its own options}; the widths come from the model.

    Raises:
        ValueError: no name, an unknown name, or an option that the head does not have.
    """
    options = dict(config)
    name = _known_name(options.pop("name", None))
    return build(HEADS[name], options, sizes=sizes)


def for_acting(trained: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A checkpoint's head configuration with the options that a user changes for acting.

    Raises:
        ValueError: another head than the checkpoint's, or an option that training has fixed.
    """
    name = str(trained["name"])
    if given.get("name", name) != name:
        asked = _known_name(given["name"])
        raise ValueError(f"the checkpoint has head '{name}', not '{asked}': leave head.name out, or train that head")
    may = HEADS[_known_name(name)].acting_options
    for key, value in given.items():
        if key not in may and value != trained.get(key):
            change = f"only {', '.join(may)} may change" if may else "none may change"
            raise ValueError(
                f"option {key} of head {name} is fixed by training at {trained.get(key)}, got {value}: {change}"
            )
    return {**trained, **given}


def _known_name(name: Any) -> str:
    if name is None:
        raise ValueError(f"head config has no 'name', expected one of {', '.join(HEADS)}: add head.name")
    if name not in HEADS:
        raise unknown_name("head", str(name), HEADS)
    return str(name)


__all__ = ["HEADS", "ActionHead", "Sizes", "for_acting", "make_head"]
