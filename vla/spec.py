"""What a policy is, as data: conventions, cameras and head; stored in a checkpoint as `vst_vla.json`."""

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
    check_history,
    picture_keys,
    unknown_name,
)
from vst_vla.vla.normalize import NormStats

FORMAT = 1
LEAST_SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """Everything beside the weights that two users of one policy must agree on."""

    head: Mapping[str, Any] = field(default_factory=lambda: {"name": "parallel", "chunk": 8})
    state: StateSpec | None = LIBERO_STATE
    action: ActionSpec = LIBERO_ACTION
    image_keys: tuple[str, ...] = IMAGE_KEYS  # cameras in prompt order
    image_size: int = 112  # side in px of each square camera image that the model sees
    crop: float = 1.0  # side of the random training crop as a fraction; the centre crop of that size when acting
    # control steps before the present of each further picture of every camera, ascending (`contracts.picture_keys`)
    history: tuple[int, ...] = ()
    camera_embedding: bool = True  # a learned vector a camera and time, added to its visual tokens
    # share of the action's range below which a dimension's own range is not scaled up to [-1, 1]
    least_action_share: float = LEAST_SHARE
    backbone: str = "tiny"
    revision: str | None = None
    recipe: str = ""

    def __post_init__(self) -> None:
        check_history(self.history)

    @property
    def picture_keys(self) -> tuple[str, ...]:
        """Keys of all pictures in prompt order: those of `history`, the oldest first, then the present ones."""
        return picture_keys(self.image_keys, history=self.history)

    @property
    def chunk(self) -> int:
        """Action steps a prediction."""
        return int(self.head["chunk"])

    @property
    def state_dim(self) -> int:
        """Width S of the state, 0 for a policy without one."""
        return 0 if self.state is None else self.state.dim

    def check(self, stats: NormStats) -> None:
        """Raises ValueError unless the statistics have the action and the state at their widths."""
        stats.require(ACTION_KEY, dim=self.action.dim)
        if self.state is not None:
            stats.require(STATE_KEY, dim=self.state.dim)

    def to_json(self) -> str:
        """The text of `vst_vla.json`."""
        content = {"format": FORMAT, **asdict(self), "head": dict(self.head)}
        if not self.history:  # releases from before there was one read the others
            del content["history"]
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> ModelSpec:
        """The inverse of `to_json`.

        Raises:
            ValueError: not JSON, another format number, an unknown or missing entry, or a history that cannot be.
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
        content["image_keys"] = tuple(content.get("image_keys", IMAGE_KEYS))
        content["history"] = tuple(content.get("history", ()))
        return cls(**content)


def _spec(kind: type[Any], content: Mapping[str, Any]) -> Any:
    missing = [f.name for f in fields(kind) if f.default is MISSING and f.name not in content]
    if missing:
        raise ValueError(f"vst_vla.json describes no {', '.join(missing)} in its {kind.__name__}: copy it again")
    return kind(**{**content, "names": tuple(content["names"])})
