"""What a preview counts in a dataset's numbers, and what it warns about. Letters: T frames, D width of a feature."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from vst_vla.envs.suites import CONTROL_HZ
from vst_vla.policies.preview_data import DatasetNumbers, EpisodeSpan
from vst_vla.policies.recording import is_no_op
from vst_vla.vla.contracts import ACTION_KEY, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, Array

LIMIT_SHARE = 0.2
"""Share of frames at the end of the action's range from which a dimension counts as clipped."""
STATS_TOLERANCE = 0.05
"""How far a stored quantile may be from the data's, as a share of the dimension's range."""
FROZEN_FRAMES = 10
FROZEN_TRAVEL = 0.02  # m the hand moves in so many frames
FROZEN_CHANGE = 8  # grey levels; compression changes a still picture by less


@dataclass(frozen=True, kw_only=True)
class Column:
    """One dimension of a feature over all frames, NaNs and infinities left out."""

    feature: str
    name: str
    min: float
    q01: float
    mean: float
    q99: float
    max: float
    at_limit: float | None  # share of frames at the end of the action's range; None for states and the gripper


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that was looked at."""

    name: str
    looked_at: str
    finding: str | None  # a sentence when something is wrong


def summarise_columns(numbers: DatasetNumbers) -> list[Column]:
    """Every dimension of state and action."""
    return [
        _column(key, name, values[:, i], limited=key == ACTION_KEY and i < values.shape[1] - 1)
        for key, values in numbers.vectors.items()
        for i, name in enumerate(numbers.names(key))
    ]


def count_no_ops(actions: Array) -> int:
    """Frames of one episode's actions (T, 7) that OpenVLA's filter would drop: no motion, gripper as it was."""
    count, previous = 0, None
    for action in actions:
        if is_no_op(action, previous=previous):
            count += 1
        else:
            previous = action
    return count


def has_our_actions(numbers: DatasetNumbers) -> bool:
    """Whether actions are as wide as `LIBERO_ACTION`, so that their dimensions have a meaning."""
    return numbers.vectors[ACTION_KEY].shape[1] == LIBERO_ACTION.dim


def frozen_frames(pictures: Array, states: Array) -> int:
    """Frames of an episode whose picture (T, H, W, 3) is that of half a second before although the hand has moved.

    Args:
        pictures: uint8.
        states: (T, 8); the first three are the hand's place in metres.
    """
    if len(pictures) <= FROZEN_FRAMES:
        return 0
    travel = np.linalg.norm(states[FROZEN_FRAMES:, :3] - states[:-FROZEN_FRAMES, :3], axis=1)
    pairs = zip(pictures[FROZEN_FRAMES:], pictures[:-FROZEN_FRAMES], strict=True)
    change = np.array([np.abs(now.astype(np.int16) - before).max() for now, before in pairs])
    return int(((travel > FROZEN_TRAVEL) & (change <= FROZEN_CHANGE)).sum())


def run_checks(numbers: DatasetNumbers, *, frozen: Mapping[int, Mapping[str, int]]) -> list[Check]:
    """Everything that is looked at; `frozen` has frozen frames by episode and camera for the sampled episodes."""
    whole = f"all {numbers.num_frames} frames"
    episodes = f"all {len(numbers.episodes)} episodes"
    checks: list[tuple[str, str, Callable[[DatasetNumbers], str | None]]] = [
        ("Widths", "meta/info.json", _other_widths),
        ("Frame rate", "meta/info.json", _other_rate),
        ("Counts", "meta/info.json", _other_counts),
        ("Failed tasks", "meta/vst_vla.json", _failed_tasks),
        ("Stored statistics", "meta/stats.json", _other_statistics),
        ("NaN and infinity", whole, _not_finite),
        ("Action range", whole, _outside),
        ("Clipped actions", whole, _clipped),
        ("Gripper", episodes, _gripper),
        ("Duplicates", episodes, _duplicates),
    ]
    found = [Check(name=name, looked_at=what, finding=look(numbers)) for name, what, look in checks]
    return [*found, Check(name="Frozen pictures", looked_at=f"{len(frozen)} episodes", finding=_frozen(frozen))]


def _column(key: str, name: str, values: Array, *, limited: bool) -> Column:
    finite = values[np.isfinite(values)].astype(np.float64)
    low, q01, q99, high = np.quantile(finite, [0, 0.01, 0.99, 1]) if len(finite) else [np.nan] * 4
    share = float((np.abs(finite) >= LIBERO_ACTION.high - 1e-6).mean()) if limited and len(finite) else None
    mean = float(finite.mean()) if len(finite) else np.nan
    return Column(feature=key, name=name, min=low, q01=q01, mean=mean, q99=q99, max=high, at_limit=share)


def _some(episodes: Sequence[int]) -> str:
    """Episode numbers for a sentence, the first few of them."""
    more = f" and {len(episodes) - 5} more" if len(episodes) > 5 else ""
    return f"{'episode' if len(episodes) == 1 else 'episodes'} {', '.join(map(str, episodes[:5]))}{more}"


def _where(numbers: DatasetNumbers, frames: Array) -> str:
    """The episodes in which a mask over frames (T,) holds."""
    return _some([e.index for e in numbers.episodes if frames[e.start : e.stop].any()])


def _other_widths(numbers: DatasetNumbers) -> str | None:
    wanted = {ACTION_KEY: LIBERO_ACTION.dim, STATE_KEY: LIBERO_STATE.dim}
    found = {key: values.shape[1] for key, values in numbers.vectors.items()}
    texts = [f"{key} has {found[key]} numbers, expected {dim}" for key, dim in wanted.items() if found[key] != dim]
    return "; ".join(texts) or None


def _other_counts(numbers: DatasetNumbers) -> str | None:
    said = numbers.layout.info.get("total_episodes"), numbers.layout.info.get("total_frames")
    found = len(numbers.episodes), numbers.num_frames
    if said == found:
        return None
    return f"info.json says {said[0]} episodes and {said[1]} frames, the data holds {found[0]} and {found[1]}"


def _failed_tasks(numbers: DatasetNumbers) -> str | None:
    failed = numbers.layout.conventions.get("failed_tasks", {})
    return "; ".join(f"task {task} is missing: {why}" for task, why in failed.items()) or None


def _other_rate(numbers: DatasetNumbers) -> str | None:
    if numbers.fps == CONTROL_HZ:
        return None
    return f"info.json says {numbers.fps:g} frames a second, LIBERO runs at {CONTROL_HZ:g}"


def _other_statistics(numbers: DatasetNumbers) -> str | None:
    """The first stored quantile of an action that is far from the data's; training computes those that are missing."""
    actions = [column for column in summarise_columns(numbers) if column.feature == ACTION_KEY]
    for q in ("q01", "q99"):
        stored = np.ravel(numbers.stats.get(q, []))
        for value, column in zip(stored, actions, strict=False):
            real = getattr(column, q)
            if abs(value - real) > STATS_TOLERANCE * (column.max - column.min) + 1e-6:
                return f"{q} of action {column.name} is {value:.3g} in stats.json, {real:.3g} in the data"
    return None


def _not_finite(numbers: DatasetNumbers) -> str | None:
    texts = []
    for key, values in numbers.vectors.items():
        bad = ~np.isfinite(values)
        if bad.any():
            names = [name for name, column in zip(numbers.names(key), bad.T, strict=True) if column.any()]
            frames = np.any(bad, axis=1)
            texts.append(f"{frames.sum()} frames of {key} ({', '.join(names)}) in {_where(numbers, frames)}")
    return "NaN or infinity in " + "; ".join(texts) if texts else None


def _outside(numbers: DatasetNumbers) -> str | None:
    actions = numbers.vectors[ACTION_KEY]
    frames = np.any((actions < LIBERO_ACTION.low - 1e-6) | (actions > LIBERO_ACTION.high + 1e-6), axis=1)
    if not frames.any():
        return None
    limits = f"{LIBERO_ACTION.low:g} to {LIBERO_ACTION.high:g}"
    return f"{frames.sum()} frames have an action outside {limits}, in {_where(numbers, frames)}"


def _clipped(numbers: DatasetNumbers) -> str | None:
    texts = [
        f"{column.name} in {column.at_limit:.0%} of the frames"
        for column in summarise_columns(numbers)
        if column.at_limit is not None and column.at_limit >= LIMIT_SHARE
    ]
    return "the action is at the end of its range: " + ", ".join(texts) if texts else None


def _gripper(numbers: DatasetNumbers) -> str | None:
    if not has_our_actions(numbers):
        return None
    gripper = numbers.vectors[ACTION_KEY][:, -1]
    if np.nanmin(gripper) >= 0:
        return f"the gripper's command is never below 0, expected {LIBERO_ACTION.gripper}"
    never = [e.index for e in numbers.episodes if not (gripper[e.start : e.stop] > 0).any()]
    return f"the gripper never closes in {_some(never)}" if never else None


def _duplicates(numbers: DatasetNumbers) -> str | None:
    seen: dict[bytes, EpisodeSpan] = {}
    pairs = []
    for episode in numbers.episodes:
        digest = hashlib.sha256()
        for values in numbers.vectors.values():
            digest.update(values[episode.start : episode.stop].tobytes())
        first = seen.setdefault(digest.digest(), episode)
        if first is not episode:
            pairs.append(f"{episode.index} repeats {first.index}")
    if not pairs:
        return None
    more = f" and {len(pairs) - 5} more" if len(pairs) > 5 else ""
    return f"the same numbers twice: episode {', '.join(pairs[:5])}{more}"


def _frozen(frozen: Mapping[int, Mapping[str, int]]) -> str | None:
    texts = [
        f"{count} frames of {camera} in episode {episode}"
        for episode, cameras in frozen.items()
        for camera, count in cameras.items()
        if count
    ]
    more = f" and {len(texts) - 5} more" if len(texts) > 5 else ""
    return f"the picture stands still while the hand moves: {', '.join(texts[:5])}{more}" if texts else None
