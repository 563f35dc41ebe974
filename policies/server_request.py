"""From a client's message to an observation: openpi's keys or ours, checked so that every mistake names itself.

    openpi's key              ours                        what
    observation/image         observation.images.image    uint8 (H,W,3) RGB; (3,H,W) and floats in [0,1] are taken too
    observation/wrist_image   observation.images.image2   the same, wrist view
    observation/state         observation.state           (S,) numbers
    prompt                    task                        the instruction

A policy with image history may be sent past pictures too, under our names (`observation.images.image.before8`); where
there are none, the server gives it those that the connection sent earlier. Three more optional keys go beyond openpi:
`reset` (true: a new episode starts), `step` (the control step at which the observation was taken) and
`committed_actions` ((D,A): what will be executed before a reply can arrive, for policies that continue a given
beginning). Other keys are left alone, as openpi's server leaves them.
Letters: H/W pixels, S state, D committed steps, A action.
"""

from __future__ import annotations

import reprlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from vst_vla.policies.wire import Message
from vst_vla.vla.contracts import (
    COMMITTED_KEY,
    IMAGE_KEY,
    IMAGE_KEYS,
    STATE_KEY,
    STEP_KEY,
    TASK_KEY,
    WRIST_IMAGE_KEY,
    ActionSpec,
    Array,
    Observation,
    Policy,
    StateSpec,
    picture_keys,
)

OPENPI_KEYS = {
    IMAGE_KEY: "observation/image",
    WRIST_IMAGE_KEY: "observation/wrist_image",
    STATE_KEY: "observation/state",
    TASK_KEY: "prompt",
}
RESET_KEY = "reset"
SMALLEST_PICTURE, LARGEST_PICTURE = 16, 4096
LONGEST_PROMPT = 2000


@dataclass(frozen=True, kw_only=True)
class PolicyNeeds:
    """What a policy looks at, read from its attributes.

    inpaints: whether it reads `committed_actions` and continues them.
    history: control steps before the present of its past pictures, see `ModelSpec`.
    """

    image_keys: tuple[str, ...]
    state: StateSpec | None
    action: ActionSpec
    inpaints: bool
    history: tuple[int, ...]

    @classmethod
    def of(cls, policy: Policy) -> PolicyNeeds:
        """`image_keys`, `state_spec`, `inpaints` and `history` are optional attributes of a policy."""
        return cls(
            image_keys=tuple(getattr(policy, "image_keys", IMAGE_KEYS)),
            state=getattr(policy, "state_spec", None),
            action=policy.action_spec,
            inpaints=bool(getattr(policy, "inpaints", False)),
            history=tuple(getattr(policy, "history", ())),
        )

    @property
    def picture_keys(self) -> tuple[str, ...]:
        """Our keys of all its pictures, past ones included."""
        return picture_keys(self.image_keys, history=self.history)

    def blank(self, *, image_size: int) -> Observation:
        """An observation of the right form with nothing on it, to warm up with."""
        picture = np.zeros((image_size, image_size, 3), np.uint8)
        state = {STATE_KEY: np.zeros(self.state.dim, np.float32)} if self.state else {}
        return {**dict.fromkeys(self.picture_keys, picture), **state, TASK_KEY: "warm up"}


def wire_name(key: str) -> str:
    """Openpi's name of one of our keys; a camera that openpi does not have keeps ours."""
    return OPENPI_KEYS.get(key, key)


def is_only_reset(message: Message) -> bool:
    """Whether a message says nothing but that a new episode starts."""
    return set(message) == {RESET_KEY}


def read_reset(message: Message) -> bool:
    """Raises ValueError unless `reset` is absent or a truth value."""
    value = message.get(RESET_KEY, False)
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"'{RESET_KEY}' is {_short(value)}, expected true or false")
    return bool(value)


def read_step(message: Message) -> int | None:
    """The control step of the observation. Raises ValueError unless it is absent or a whole number from 0 on."""
    value = message.get(STEP_KEY)
    if value is None:
        return None
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < 0:
        raise ValueError(f"'{STEP_KEY}' is {_short(value)}, expected a whole number from 0 on")
    return int(value)


def read_observation(message: Message, *, needs: PolicyNeeds) -> Observation:
    """The observation in a message.

    Raises:
        ValueError: for a key that is missing, or a value of another kind, size or range.
    """
    sent = [key for key in needs.picture_keys if key in needs.image_keys or key in message]
    observation: Observation = {key: _picture(_get(message, key), key) for key in sent}
    if needs.state is not None or _has(message, STATE_KEY):
        observation[STATE_KEY] = _state(_get(message, STATE_KEY), needs.state)
    observation[TASK_KEY] = _prompt(_get(message, TASK_KEY))
    if COMMITTED_KEY in message:
        observation[COMMITTED_KEY] = _committed(message[COMMITTED_KEY], needs)
    return observation


def _has(message: Message, key: str) -> bool:
    return key in message or wire_name(key) in message


def _get(message: Message, key: str) -> Any:
    for name in (wire_name(key), key):
        if name in message:
            return message[name]
    found = ", ".join(sorted(_short(name) for name in list(message)[:12])) or "nothing"
    raise ValueError(f"observation has no '{wire_name(key)}' (or '{key}'): found {found}")


def _picture(value: Any, key: str) -> Array:
    name = wire_name(key)
    if not isinstance(value, np.ndarray) or value.ndim != 3 or 3 not in (value.shape[0], value.shape[2]):
        raise ValueError(f"'{name}' is {_form(value)}, expected uint8 (H, W, 3)")
    picture = value if value.shape[2] == 3 else np.moveaxis(value, 0, 2)
    if not all(SMALLEST_PICTURE <= side <= LARGEST_PICTURE for side in picture.shape[:2]):
        raise ValueError(f"'{name}' is {_form(value)}, expected {SMALLEST_PICTURE} to {LARGEST_PICTURE} pixels a side")
    if np.issubdtype(picture.dtype, np.floating):
        picture = _from_unit_range(picture, name)
    if picture.dtype != np.uint8:
        raise ValueError(f"'{name}' is {_form(value)}, expected uint8 (H, W, 3), or floats in [0, 1]")
    return np.ascontiguousarray(picture)


def _from_unit_range(picture: Array, name: str) -> Array:
    low, high = float(picture.min()), float(picture.max())
    if not (low >= 0 and high <= 1):  # also false for NaN
        raise ValueError(f"'{name}' has floats from {low:.4g} to {high:.4g}, expected [0, 1]: send uint8, or divide")
    return np.rint(picture * 255).astype(np.uint8)


def _state(value: Any, spec: StateSpec | None) -> Array:
    name = OPENPI_KEYS[STATE_KEY]
    state = np.asarray(value) if isinstance(value, list) and not any(isinstance(v, list) for v in value) else value
    if not isinstance(state, np.ndarray) or state.ndim != 1 or state.dtype.kind not in "iuf":
        raise ValueError(f"'{name}' is {_form(value)}, expected a vector of numbers")
    if spec is not None and len(state) != spec.dim:
        raise ValueError(f"'{name}' has {len(state)} numbers, expected {spec.dim}: {', '.join(spec.names)}")
    return _finite(state, name)


def _committed(value: Any, needs: PolicyNeeds) -> Array:
    if not needs.inpaints:
        raise ValueError(
            f"this policy does not continue given actions ('inpaints' is false): leave out '{COMMITTED_KEY}'"
        )
    if not isinstance(value, np.ndarray) or value.ndim != 2 or value.dtype.kind not in "iuf":
        raise ValueError(f"'{COMMITTED_KEY}' is {_form(value)}, expected numbers (D, {needs.action.dim})")
    needs.action.check(value)
    return _finite(value, COMMITTED_KEY)


def _finite(value: Array, name: str) -> Array:
    numbers = value if value.dtype == np.float32 else _narrowed(value)
    if not np.isfinite(numbers).all():
        raise ValueError(f"'{name}' holds a NaN or infinity: send finite numbers only")
    return numbers


def _narrowed(value: Array) -> Array:
    """As float32; what does not fit becomes an infinity."""
    with np.errstate(over="ignore"):
        return value.astype(np.float32)


def _prompt(value: Any) -> str:
    name = OPENPI_KEYS[TASK_KEY]
    if not isinstance(value, str):
        raise ValueError(f"'{name}' is {_form(value)}, expected text")
    if not value.strip():
        raise ValueError(f"'{name}' is empty: say in words what the robot should do")
    if len(value) > LONGEST_PROMPT:
        raise ValueError(f"'{name}' has {len(value)} characters, expected at most {LONGEST_PROMPT}")
    return value


def _form(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return f"{type(value).__name__} {_short(value)}"


def _short(value: Any) -> str:
    text = " ".join((value[:80] if isinstance(value, str) else reprlib.repr(value)).split())
    return text if len(text) <= 40 else text[:37] + "..."
