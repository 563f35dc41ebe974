"""Which of a dataset's columns is which of ours, and whether its numbers mean what ours do.

Known names of published LIBERO datasets are found by themselves; others are named by the user. Conventions that a
dataset does not state are read off its numbers, and what cannot be told apart is an error, never a guess.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vst_vla.vla.contracts import (
    ACTION_KEY,
    IMAGE_KEY,
    PICTURE_PREFIX,
    STATE_KEY,
    WRIST_IMAGE_KEY,
    ActionSpec,
    Array,
    StateSpec,
    unknown_name,
)
from vst_vla.vla.data.layouts import Layout

PICTURE_TYPES = ("image", "video")
PUBLISHED_NAMES: Mapping[str, tuple[str, ...]] = {
    IMAGE_KEY: (IMAGE_KEY, "image"),
    WRIST_IMAGE_KEY: (WRIST_IMAGE_KEY, "observation.images.wrist_image", "wrist_image"),
    STATE_KEY: (STATE_KEY, "state"),
    ACTION_KEY: (ACTION_KEY, "actions"),
}
"""Our key -> its names in lerobot/libero, HuggingFaceVLA/libero, physical-intelligence/libero and the no_noops sets."""
PUBLISHED_SIZE = (1693, 273465)
"""Episodes and frames of the LIBERO set that several hub datasets hold; its label says 10 Hz, its data are at 20 Hz."""
PUBLISHED_KEYS = {"image", "wrist_image", "state", "actions"}
"""Columns of physical-intelligence/libero."""
PUBLISHED_LABEL, PUBLISHED_FPS = 10, 20
GRIPPERS = ("minus_one_open", "one_open", "zero_open")
"""Gripper commands: -1 open, +1 close (LIBERO); 0 close, 1 open (the no_noops sets); 0 open, 1 close."""

log = logging.getLogger(__name__)


def full_key(name: str) -> str:
    """`image2` -> `observation.images.image2`; a full key stays as it is."""
    return name if name.startswith(PICTURE_PREFIX) else PICTURE_PREFIX + name


def find_columns(layout: Layout, *, keys: Sequence[str], cameras: Mapping[str, str] | None) -> dict[str, str]:
    """For each of our `keys`, the dataset's own column.

    Args:
        layout: of the dataset.
        keys: pictures, state and action of `vla/contracts.py`.
        cameras: our picture key -> the dataset's name, in full or without `observation.images.`; None looks for the
            published names.

    Raises:
        ValueError: a column is not there, with those that are, and how to name it.
    """
    named = {full_key(ours): theirs for ours, theirs in (cameras or {}).items()}
    return {key: _find(layout, key, named.get(key)) for key in keys}


def _find(layout: Layout, key: str, named: str | None) -> str:
    choices = PUBLISHED_NAMES.get(key, (key,)) if named is None else (named, full_key(named))
    for name in choices:
        if name in layout.features:
            return name
    pictures = [name for name, feature in layout.features.items() if feature["dtype"] in PICTURE_TYPES]
    if not key.startswith(PICTURE_PREFIX):
        found = ", ".join(sorted(set(layout.features) - set(pictures)))
        raise ValueError(f"{layout.folder}: no '{key}', found {found}: rename the column to match")
    raise ValueError(
        f"{layout.folder}: no camera '{named or key}', found {', '.join(pictures) or 'none'}: "
        f"name it with data.reader.cameras={{{key.removeprefix(PICTURE_PREFIX)}: NAME}}"
    )


def check_widths(layout: Layout, columns: Mapping[str, str], *, action: int, state: int) -> None:
    """Raises ValueError unless actions, states and pictures have the shape that the policy expects."""
    for key, width in ((ACTION_KEY, action), (STATE_KEY, state)):
        found = layout.features[columns[key]]["shape"][-1]
        if found != width:
            raise ValueError(
                f"{layout.folder}: {columns[key]} has {found} numbers, expected {width}: "
                "record with the spec in contracts.py"
            )


def picture_shape(layout: Layout, column: str) -> tuple[int, int, int]:
    """(H, W, 3) of a camera; raises ValueError for a column that holds no RGB pictures."""
    feature = layout.features[column]
    shape = tuple(int(side) for side in feature["shape"])
    names = feature.get("names")
    if len(shape) == 3 and names and str(names[0]).startswith("channel"):
        shape = (shape[1], shape[2], shape[0])
    if feature["dtype"] not in PICTURE_TYPES or len(shape) != 3 or shape[2] != 3:
        raise ValueError(
            f"{layout.folder}: {column} is {feature['dtype']} of shape {feature['shape']}, expected RGB pictures"
        )
    return shape[0], shape[1], shape[2]


def check_rate(layout: Layout, *, fps: float, stated: float | None) -> None:
    """Raises ValueError unless the dataset was recorded at `fps`; `stated` overrules its label.

    LIBERO runs at 20 Hz, and so were its published demonstrations recorded, although most of their labels say 10.
    """
    label = layout.info["fps"]
    size = (layout.info.get("total_episodes"), layout.info.get("total_frames"))
    known = size == PUBLISHED_SIZE or set(layout.features) >= PUBLISHED_KEYS
    if stated is None and label == PUBLISHED_LABEL and known:
        log.warning("%s is labelled %s Hz; LIBERO recorded it at %s Hz", layout.folder, label, PUBLISHED_FPS)
        stated = PUBLISHED_FPS
    rate = label if stated is None else stated
    if rate != fps:
        raise ValueError(
            f"{layout.folder}: recorded at {rate:g} frames a second, expected {fps:g}: "
            f"record at that rate, or give data.reader.recorded_fps={fps:g} if the label is wrong"
        )


def check_conventions(layout: Layout, *, action: ActionSpec, state: StateSpec) -> None:
    """Raises ValueError when a dataset says that its numbers mean something else; most do not say."""
    for name, spec in (("action_spec", action), ("state_spec", state)):
        theirs: Mapping[str, Any] = layout.conventions.get(name, {})
        for key, value in spec.to_dict().items():
            found = tuple(theirs[key]) if isinstance(theirs.get(key), list) else theirs.get(key)
            if key in theirs and found != value:
                raise ValueError(
                    f"{layout.folder}: {name} {key} is {found!r}, expected {value!r}: data and policy must agree"
                )


def to_our_gripper(layout: Layout, actions: Array, *, column: str, stated: str | None) -> Array:
    """Actions (n, A) whose last number, the gripper's, is -1 open and +1 close.

    Commands from 0 to 1 are those of the OpenVLA family (0 close, 1 open) in the no_noops sets, and have to be stated
    elsewhere: taking them for LIBERO's would train a policy that never opens its hand.

    Raises:
        ValueError: commands from 0 to 1 whose meaning is not known, or an unknown `stated` name.
    """
    if stated is not None and stated not in GRIPPERS:
        raise unknown_name("data.reader.gripper", stated, GRIPPERS)
    grip = actions[:, -1]
    if stated is None and not (grip.min() >= 0 and grip.min() < 0.5):
        return actions
    if stated is None:
        if "observation.images.wrist_image" not in layout.features:
            raise ValueError(
                f"{layout.folder}: the gripper in {column} goes from {grip.min():g} to {grip.max():g}, expected -1 "
                "(open) to 1 (close): give data.reader.gripper=one_open or data.reader.gripper=zero_open"
            )
        log.warning("%s has gripper commands 1 open, 0 close; they are read as -1 open, 1 close", layout.folder)
        stated = "one_open"
    ours = {"minus_one_open": grip, "one_open": 1 - 2 * grip, "zero_open": 2 * grip - 1}[stated]
    return np.concatenate([actions[:, :-1], ours[:, None]], axis=1, dtype=np.float32)
