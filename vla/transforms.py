"""One list of transforms from a robot sample to model units, used by training and by serving.

Each is a callable `(sample, rng) -> sample` on the dictionary of `vla/contracts.py`. With a random generator it
augments (training), without one it does the matching deterministic thing (evaluation): a random crop becomes the centre
crop.
Letters: H/W pixels, S state, C chunk, A action.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from vst_vla.vla.contracts import ACTION_KEY, GRIPPER, STATE_KEY, Array, geometry_key, keys_over_time
from vst_vla.vla.geometry.cells import cells_a_side
from vst_vla.vla.normalize import Normalizer, NormStats
from vst_vla.vla.spec import ModelSpec

Sample = dict[str, Any]
Transform = Callable[[Sample, np.random.Generator | None], Sample]

STATE_CLIP = 1.5
"""Normalised states are cut here: outside the demonstrations' range, distance says nothing the policy has learnt."""


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How strongly training samples are varied; all zero means not at all. The crop is the policy's own (`spec.crop`).

    brightness, contrast: largest relative change of a picture.
    state_noise: standard deviation of Gaussian noise on the normalised state.
    state_dropout: share of the samples whose state is withheld, with zeros in its place. A policy that always has the
        exact state hardly learns to look where the hand and the things are.
    """

    brightness: float = 0.2
    contrast: float = 0.2
    state_noise: float = 0.05
    state_dropout: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.state_dropout <= 1:
            raise ValueError(f"augmentation.state_dropout {self.state_dropout} is outside 0 to 1: try 0.3")


@dataclass(frozen=True, kw_only=True)
class CropResize:
    """Pictures (H,W,3) uint8 -> (size, size, 3) uint8, from a crop of `fraction` of the shorter side.

    Labels (G,G,5) of a picture's cells, where a sample has them, become those of `cells` x `cells` cells of the crop,
    each that of the cell at its centre. A camera's pictures at the times of `history` are cropped as its present one
    is: what differs between them has moved.
    """

    keys: tuple[str, ...]
    size: int
    fraction: float
    cells: int = 1
    history: tuple[int, ...] = ()

    def __call__(self, sample: Sample, rng: np.random.Generator | None) -> Sample:
        """Cropped and resized; the given sample is left as it is."""
        changed: Sample = {}
        for key in self.keys:
            place = None if rng is None else rng.random(2)
            for seen in keys_over_time(key, history=self.history):
                changed |= self._crop(sample, seen, place=place)
        return sample | changed

    def centre(self, height: int, width: int) -> tuple[float, float, float]:
        """The crop of acting, from a picture of that size: left, top and side in pixels."""
        side = min(height, width) * self.fraction
        return 0.5 * (width - side), 0.5 * (height - side), side

    def _crop(self, sample: Sample, key: str, *, place: Array | None) -> Sample:
        """One picture's crop and its labels'; `place` (2,) is where it lies, from 0 (left, top) to 1; None centres."""
        height, width = sample[key].shape[:2]
        left, top, side = self.centre(height, width)
        if place is not None:
            left, top = place * np.array([width - side, height - side])
        cropped = {key: self._cut(sample[key], left=left, top=top, side=side)}
        labels = sample.get(geometry_key(key))
        if labels is not None:
            rows = self._pick(top, side, whole=height, count=len(labels))
            columns = self._pick(left, side, whole=width, count=labels.shape[1])
            cropped[geometry_key(key)] = labels[rows[:, None], columns]
        return cropped

    def _cut(self, picture: Array, *, left: float, top: float, side: float) -> Array:
        if picture.shape[:2] == (self.size, self.size) and side == self.size:
            return picture
        image = Image.fromarray(picture)
        box = (left, top, left + side, top + side)
        return np.asarray(image.resize((self.size, self.size), Image.Resampling.BILINEAR, box=box))

    def _pick(self, start: float, side: float, *, whole: int, count: int) -> Array:
        """Which of `count` cells over `whole` px lie at the centres of the crop's, (cells,)."""
        centres = start + (np.arange(self.cells) + 0.5) * (side / self.cells)
        return (centres * (count / whole)).astype(np.int64)


@dataclass(frozen=True, kw_only=True)
class ColourJitter:
    """Random brightness and contrast of each camera (training only), through one table of 256 entries.

    Its pictures at the times of `history` go through the table of its present one.
    """

    keys: tuple[str, ...]
    brightness: float
    contrast: float
    history: tuple[int, ...] = ()

    def __call__(self, sample: Sample, rng: np.random.Generator | None) -> Sample:
        """Jittered; the given sample is left as it is."""
        if rng is None or (self.brightness == 0 and self.contrast == 0):
            return sample
        changed: Sample = {}
        for key in self.keys:
            table = self._table(sample[key], rng)
            changed |= {seen: table[sample[seen]] for seen in keys_over_time(key, history=self.history)}
        return sample | changed

    def _table(self, picture: Array, rng: np.random.Generator) -> Array:
        """What becomes of each of 256 values, (256,) uint8; contrast is about the picture's mean."""
        gain = 1 + rng.uniform(-self.brightness, self.brightness)
        spread = 1 + rng.uniform(-self.contrast, self.contrast)
        mean = picture[::4, ::4].mean()
        return np.clip(((np.arange(256) - mean) * spread + mean) * gain, 0, 255).astype(np.uint8)


@dataclass(frozen=True, kw_only=True)
class Normalise:
    """One feature from physical to model units; in training with Gaussian noise or withheld, where asked for."""

    key: str
    normalizer: Normalizer
    noise: float = 0.0
    dropout: float = 0.0

    def __call__(self, sample: Sample, rng: np.random.Generator | None) -> Sample:
        """Normalised; the given sample is left as it is."""
        if self.key not in sample:  # a served observation carries no action
            return sample
        values = self.normalizer.normalize(np.asarray(sample[self.key], dtype=np.float32))
        if rng is not None and self.noise:
            values = values + rng.normal(0, self.noise, values.shape).astype(np.float32)
        if rng is not None and rng.random() < self.dropout:
            values = np.zeros_like(values)
        return sample | {self.key: values}


def action_normalizer(spec: ModelSpec, *, stats: NormStats) -> Normalizer:
    """Quantile normalisation of the action; a gripper command is already -1 or +1 and is left alone.

    A dimension that moves over less than `spec.least_action_share` of the action's range, such as rotation in a task
    without any, is not blown up to the full range: its jitter would take half of the loss.
    """
    keep = [i for i, name in enumerate(spec.action.names) if name == GRIPPER]
    least = spec.least_action_share * (spec.action.high - spec.action.low)
    return Normalizer(stats.require(ACTION_KEY, dim=spec.action.dim), keep=keep, min_width=least)


def build_transforms(
    spec: ModelSpec, *, stats: NormStats, augmentation: Augmentation = Augmentation()
) -> list[Transform]:
    """The list for one policy. `augmentation` acts only where a random generator is given.

    Raises:
        ValueError: for statistics that are missing or of another width.
    """
    cameras: dict[str, Any] = {"keys": tuple(spec.image_keys), "history": spec.history}
    transforms: list[Transform] = [
        CropResize(**cameras, size=spec.image_size, fraction=spec.crop, cells=cells_a_side(spec.image_size)),
        ColourJitter(**cameras, brightness=augmentation.brightness, contrast=augmentation.contrast),
        Normalise(key=ACTION_KEY, normalizer=action_normalizer(spec, stats=stats)),
    ]
    if spec.state is not None:
        state = Normalizer(stats.require(STATE_KEY, dim=spec.state.dim), clip=STATE_CLIP)
        noise, dropout = augmentation.state_noise, augmentation.state_dropout
        transforms.append(Normalise(key=STATE_KEY, normalizer=state, noise=noise, dropout=dropout))
    return transforms


def apply(transforms: Sequence[Transform], sample: Sample, *, rng: np.random.Generator | None = None) -> Sample:
    """Runs the list on one sample; with a generator as in training, without as in evaluation."""
    for transform in transforms:
        sample = transform(sample, rng)
    return sample
