"""Statistics of a data set, and the invertible map between physical units and the model's unit range.

Letters in shapes: D width of one feature, ... any leading axes. The statistics travel inside every checkpoint as
`norm_stats.json`; a missing key or another width is an error, never a pass-through.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar, cast

import numpy as np
import torch

from vst_vla.vla.contracts import Array, near_miss, unknown_name

MODES = ("quantile", "min_max", "mean_std", "none")
EPSILON = 1e-6
CONSTANT_WIDTH = 1e-4
"""A feature whose range is narrower than this is constant: it is centred but never scaled up."""

T = TypeVar("T", Array, torch.Tensor)


@dataclass(frozen=True, kw_only=True)
class FeatureStats:
    """One feature's statistics, each of width D, in physical units; q01 and q99 are the 1 % and 99 % quantiles."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    min: tuple[float, ...]
    max: tuple[float, ...]
    q01: tuple[float, ...]
    q99: tuple[float, ...]

    @property
    def dim(self) -> int:
        """Width D of the feature."""
        return len(self.mean)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any], *, key: str) -> FeatureStats:
        """From {"mean": (D,), "std": ...}; extra entries are ignored.

        Raises:
            ValueError: an entry is missing, not finite, or of another width than the mean.
        """
        columns = {field.name: _column(values, field.name, key) for field in fields(cls)}
        widths = {name: len(column) for name, column in columns.items()}
        if len(set(widths.values())) != 1:
            raise ValueError(f"statistics of '{key}' have unequal widths {widths}: recompute the dataset's statistics")
        return cls(**columns)

    @classmethod
    def from_data(cls, values: Array) -> FeatureStats:
        """Exact statistics of values (n, D)."""
        exact = values.astype(np.float64)
        q01, q99 = np.quantile(exact, (0.01, 0.99), axis=0)
        columns = {"mean": exact.mean(0), "std": exact.std(0), "min": exact.min(0), "max": exact.max(0)}
        return cls(**{name: tuple(column.tolist()) for name, column in {**columns, "q01": q01, "q99": q99}.items()})


@dataclass(frozen=True)
class NormStats:
    """Statistics by feature key, such as "action" and "observation.state"."""

    features: Mapping[str, FeatureStats]

    @classmethod
    def from_data(cls, values: Mapping[str, Array]) -> NormStats:
        """Exact statistics of each feature's values, (n, D) finite numbers."""
        return cls({key: FeatureStats.from_data(columns) for key, columns in values.items()})

    @classmethod
    def from_json(cls, text: str) -> NormStats:
        """The inverse of `to_json`; raises ValueError for anything else."""
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"normalisation statistics are not JSON ({error}): copy the checkpoint again") from error
        if not isinstance(content, dict) or not all(isinstance(value, dict) for value in content.values()):
            raise ValueError("normalisation statistics must be {feature: {mean, std, min, max, q01, q99}}: retrain")
        return cls({key: FeatureStats.from_mapping(value, key=key) for key, value in content.items()})

    @classmethod
    def load(cls, path: str | Path) -> NormStats:
        """Reads a `norm_stats.json`; raises ValueError with the path when it is missing or broken."""
        path = Path(path)
        if not path.is_file():
            raise ValueError(f"no normalisation statistics at '{path}': use a folder that training wrote")
        return cls.from_json(path.read_text(encoding="utf-8"))

    def to_json(self) -> str:
        """{feature: {mean, std, ...}} as indented text."""
        return json.dumps({key: asdict(value) for key, value in self.features.items()}, indent=2) + "\n"

    def require(self, key: str, *, dim: int) -> FeatureStats:
        """The statistics of `key`; raises ValueError when they are missing or not `dim` wide."""
        if key not in self.features:
            raise ValueError(f"statistics have no '{key}', expected width {dim}: {near_miss(key, self.features)}")
        stats = self.features[key]
        if stats.dim != dim:
            raise ValueError(f"statistics of '{key}' are {stats.dim} wide, expected {dim}: use the model's own dataset")
        return stats


class Normalizer:
    """Affine map of one feature: physical units -> about [-1, 1], and back.

    quantile: 2 (x - q01) / (q99 - q01 + 1e-6) - 1, as in OpenVLA and VST; min_max the same with the extremes;
    mean_std: (x - mean) / (std + 1e-6); none: unchanged. A feature narrower than 1e-4 is centred, not scaled.

    Args:
        stats: statistics of the feature, D wide.
        mode: one of `MODES`.
        keep: dimensions left as they are, such as a gripper already in [-1, 1].
        clip: limit on |normalised|, applied by `normalize` only; None leaves the map invertible.
        min_width: least width, in physical units, that is scaled to [-1, 1]; a narrower dimension keeps its centre and
            comes out smaller, so that one that hardly moves in the data does not claim the weight of one that does.

    Raises:
        ValueError: unknown mode, or a kept dimension outside the feature.
    """

    def __init__(
        self,
        stats: FeatureStats,
        *,
        mode: str = "quantile",
        keep: Sequence[int] = (),
        clip: float | None = None,
        min_width: float = 0.0,
    ) -> None:
        if mode not in MODES:
            raise unknown_name("normalisation mode", mode, MODES)
        if any(not 0 <= index < stats.dim for index in keep):
            raise ValueError(f"kept dimensions {tuple(keep)} reach outside a feature of width {stats.dim}")
        centre, half = _affine(stats, mode)
        half = np.maximum(half, min_width / 2)
        centre[list(keep)], half[list(keep)] = 0.0, 1.0
        self.mode, self.clip, self.dim = mode, clip, stats.dim
        self.centre: Array = centre.astype(np.float32)
        self.half: Array = half.astype(np.float32)

    def normalize(self, value: T) -> T:
        """Physical (..., D) -> normalised (..., D), float32, numpy or torch as given."""
        centre, half = self._columns(value)
        scaled = (value - centre) / half
        return cast(T, scaled if self.clip is None else scaled.clip(-self.clip, self.clip))

    def denormalize(self, value: T) -> T:
        """Normalised (..., D) -> physical (..., D)."""
        centre, half = self._columns(value)
        return cast(T, value * half + centre)

    def _columns(self, value: T) -> tuple[T, T]:
        if value.shape[-1:] != (self.dim,):
            raise ValueError(
                f"value has shape {tuple(value.shape)}, expected (..., {self.dim}): check the data's width"
            )
        if isinstance(value, torch.Tensor):
            return torch.from_numpy(self.centre).to(value), torch.from_numpy(self.half).to(value)
        return self.centre, self.half


def _column(values: Mapping[str, Any], name: str, key: str) -> tuple[float, ...]:
    if name not in values:
        raise ValueError(f"statistics of '{key}' have no '{name}': train again")
    column = np.asarray(values[name], dtype=np.float64).reshape(-1)
    if not np.isfinite(column).all():
        raise ValueError(f"statistics of '{key}' hold a NaN or infinity in '{name}': recompute them")
    return tuple(column.tolist())


def _affine(stats: FeatureStats, mode: str) -> tuple[Array, Array]:
    """Centre and half range (D,) such that normalised = (x - centre) / half."""
    if mode == "none":
        return np.zeros(stats.dim), np.ones(stats.dim)
    if mode == "mean_std":
        centre, half = np.array(stats.mean), np.array(stats.std) + EPSILON
        constant = half < CONSTANT_WIDTH
    else:
        low, high = (stats.q01, stats.q99) if mode == "quantile" else (stats.min, stats.max)
        width = np.subtract(high, low)
        half = (width + EPSILON) / 2
        centre, constant = np.array(low) + half, width < CONSTANT_WIDTH
    return centre, np.where(constant, 1.0, half)
