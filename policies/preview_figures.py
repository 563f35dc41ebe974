"""A preview's figures: histograms as SVG, contact sheets as JPEG, films as MP4. Letters: T frames, H/W pixels."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
from PIL import Image

from vst_vla.envs.video import VideoWriter
from vst_vla.vla.contracts import Array

BINS = 40
WIDTH, HEIGHT, FOOT = 240, 84, 16
JPEG_QUALITY = 80
GAP = 2  # pixels between pictures


def histogram(values: Array, *, label: str, unit: str, marks: Sequence[float] = ()) -> str:
    """How often values occur, as SVG with each bar's range and count to be read by pointing at it.

    Args:
        values: any shape; NaNs and infinities are left out.
        label: what is counted, as plain text.
        unit: of the values, or "".
        marks: values marked by thin lines, such as quantiles.
    """
    finite = np.ravel(values)[np.isfinite(np.ravel(values))]
    if not len(finite):
        return '<p class="note">no finite value</p>'
    low, high = float(finite.min()), float(finite.max())
    span = (low - 0.5, high + 0.5) if low == high else (low, high)
    counts, edges = np.histogram(finite, bins=BINS, range=span)
    bars = "".join(_bar(i, counts, edges, unit) for i in np.flatnonzero(counts))
    lines = "".join(_mark(value, span) for value in marks)
    text = escape(f"{label}: {len(finite)} values from {low:.3g} to {high:.3g} {unit}".rstrip())
    base, left, right = HEIGHT - FOOT, f"{span[0]:.3g}", f"{span[1]:.3g} {unit}".rstrip()
    return (
        f'<svg class="histogram" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{text}">'
        f'<path class="axis" d="M0 {base + 0.5}H{WIDTH}"/>{bars}{lines}'
        f'<text x="0" y="{HEIGHT - 3}">{left}</text>'
        f'<text x="{WIDTH}" y="{HEIGHT - 3}" text-anchor="end">{escape(right)}</text></svg>'
    )


def _bar(i: int, counts: Array, edges: Array, unit: str) -> str:
    base = HEIGHT - FOOT
    tall = max(base * counts[i] / counts.max(), 1)
    title = escape(f"{edges[i]:.3g} to {edges[i + 1]:.3g} {unit}: {counts[i]}")
    place = f'x="{i * WIDTH / BINS:g}" y="{base - tall:.1f}" width="{WIDTH / BINS - 1:g}" height="{tall:.1f}"'
    return f"<rect {place}><title>{title}</title></rect>"


def _mark(value: float, span: tuple[float, float]) -> str:
    x = WIDTH * (value - span[0]) / (span[1] - span[0])
    return f'<path class="mark" d="M{min(max(x, 0.5), WIDTH - 0.5):.1f} 0V{HEIGHT - FOOT}"/>'


def contact_sheet(cameras: Sequence[Array]) -> bytes:
    """First, middle and last picture of each camera (T, H, W, 3), a row a camera, as a JPEG file."""
    rows = [np.concatenate([_framed(pictures[t]) for t in _three(len(pictures))], axis=1) for pictures in cameras]
    width = max(row.shape[1] for row in rows)
    sheet = np.concatenate([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    buffer = io.BytesIO()
    Image.fromarray(sheet[:-GAP, :-GAP]).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()


def film(cameras: Sequence[Array], *, fps: float) -> bytes:
    """All cameras (T, H, W, 3) side by side, as an MP4 file."""
    tall = max(pictures.shape[1] for pictures in cameras)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with VideoWriter(path, fps=fps) as writer:
            for frames in zip(*cameras, strict=True):
                level = [np.pad(f, ((0, tall - f.shape[0]), (0, 0), (0, 0))) for f in frames]
                writer.add(np.concatenate(level, axis=1))
        return path.read_bytes()


def _three(count: int) -> tuple[int, int, int]:
    return 0, count // 2, count - 1


def _framed(picture: Array) -> Array:
    return np.pad(picture, ((0, GAP), (0, GAP), (0, 0)))
