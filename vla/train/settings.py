"""The settings of a training run, as they are kept in its folder (`vla/settings.py`)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.rl_recipe import RLRecipe

FREE = ("compile",)
"""Of a recipe, what may change in the middle: it decides how fast a run is, not what it learns."""


def settings_of(recipe: Recipe | RLRecipe, **inputs: Any) -> dict[str, Any]:
    """What must be the same for a run to go on, as plain JSON values."""
    plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in inputs.items()}
    what = {key: value for key, value in dataclasses.asdict(recipe).items() if key not in FREE}
    settings: dict[str, Any] = json.loads(json.dumps({"recipe": what, **plain}, default=str))
    return settings
