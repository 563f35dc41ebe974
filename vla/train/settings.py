"""The settings of a training run, as they are kept in its folder (`vla/settings.py`)."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from vst_vla.vla.train.recipe import Recipe
from vst_vla.vla.train.rl_recipe import RLRecipe


def settings_of(recipe: Recipe | RLRecipe, **inputs: Any) -> dict[str, Any]:
    """What must be the same for a run to go on, as plain JSON values."""
    plain = {key: dict(value) if isinstance(value, Mapping) else value for key, value in inputs.items()}
    settings: dict[str, Any] = json.loads(json.dumps({"recipe": dataclasses.asdict(recipe), **plain}, default=str))
    return settings
