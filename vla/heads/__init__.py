"""Action heads by name."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.heads.base import ActionHead
from vst_vla.vla.heads.parallel import ParallelHead

HEADS: dict[str, type[ActionHead]] = {ParallelHead.name: ParallelHead}
_FIXED = ("self", "hidden_dim", "action_dim", "state_dim")


def make_head(config: Mapping[str, Any], *, hidden_dim: int, action_dim: int, state_dim: int) -> ActionHead:
    """The head that `config` describes: {"name": one of `HEADS`, its own options}; the widths come from the model.

    Raises:
        ValueError: no name, an unknown name, or an option that the head does not have.
    """
    options = dict(config)
    name = options.pop("name", None)
    if name is None:
        raise ValueError(f"head config has no 'name', expected one of {', '.join(HEADS)}: add head.name")
    if name not in HEADS:
        raise unknown_name("head", str(name), HEADS)
    known = [key for key in inspect.signature(HEADS[name]).parameters if key not in _FIXED]
    for key in options:
        if key not in known:
            raise unknown_name(f"option of head {name}", key, known)
    head: Any = HEADS[name]
    made: ActionHead = head(hidden_dim=hidden_dim, action_dim=action_dim, state_dim=state_dim, **options)
    return made


__all__ = ["HEADS", "ActionHead", "make_head"]
