"""What a policy is, as data: conventions, cameras, head and normalisation; stored in a checkpoint as `vst_vla.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from typing import Any

from vst_vla.vla.contracts import (
    ACTION_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    STATE_KEY,
    ActionSpec,
    StateSpec,
    unknown_name,
)
from vst_vla.vla.normalize import Normalizer, NormStats

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Everything beside the weights that two users of one policy must agree on."""

    head: Mapping[str, Any] = field(default_factory=lambda: {"name": "parallel", "chunk": 8})
    state: StateSpec | None = LIBERO_STATE
    action: ActionSpec = LIBERO_ACTION
    image_keys: tuple[str, ...] = IMAGE_KEYS  # cameras in prompt order
    image_size: int = 112  # side in px of each square camera image that the model sees
    crop: float = 1.0  # side of the random training crop as a fraction; the centre crop of that size when acting
    camera_embedding: bool = True  # a learned vector a camera, added to its visual tokens
    action_norm: str = "quantile"
    action_keep: tuple[int, ...] = (6,)  # action dimensions that are never normalised: the gripper
    state_norm: str = "quantile"
    state_clip: float | None = 1.5
    backbone: str = "tiny"
    revision: str | None = None
    recipe: str = ""

    @property
    def chunk(self) -> int:
        """Action steps a prediction."""
        return int(self.head["chunk"])

    def action_normalizer(self, stats: NormStats) -> Normalizer:
        """Physical to normalised actions; raises ValueError for statistics of another width or key."""
        features = stats.require(ACTION_KEY, dim=self.action.dim)
        return Normalizer(features, mode=self.action_norm, keep=self.action_keep)

    def state_normalizer(self, stats: NormStats) -> Normalizer | None:
        """Physical to normalised states, None for a policy without state."""
        if self.state is None:
            return None
        features = stats.require(STATE_KEY, dim=self.state.dim)
        return Normalizer(features, mode=self.state_norm, clip=self.state_clip)

    def check(self, stats: NormStats) -> None:
        """Raises ValueError unless the statistics fit the specs."""
        self.action_normalizer(stats)
        self.state_normalizer(stats)

    def to_json(self) -> str:
        return json.dumps({"format": FORMAT, **asdict(self), "head": dict(self.head)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The inverse of `to_json`.

        Raises:
            ValueError: not JSON, another format number, or an unknown or missing entry.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"vst_vla.json is not JSON ({error}): copy the checkpoint again") from error
        found = content.pop("format", None)
        if found != FORMAT:
            raise ValueError(
                f"vst_vla.json has format {found}, expected {FORMAT}: retrain, or use the matching release"
            )
        names = [entry.name for entry in fields(cls)]
        for key in content:
            if key not in names:
                raise unknown_name("entry of vst_vla.json", key, names)
        state = content.get("state")
        content["state"] = None if state is None else _spec(StateSpec, state)
        content["action"] = _spec(ActionSpec, content.get("action", {}))
        for key in ("image_keys", "action_keep"):
            content[key] = tuple(content[key])
        return cls(**content)


def _spec(kind: type[Any], content: Mapping[str, Any]) -> Any:
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in content]
    if missing:
        raise ValueError(f"vst_vla.json describes no {', '.join(missing)} in its {kind.__name__}: copy it again")
    return kind(**{**content, "names": tuple(content["names"])})
