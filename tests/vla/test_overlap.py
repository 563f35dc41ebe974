"""Exact overlap of oriented boxes: hand-worked pairs, symmetry, and a thousand pairs against sampled points."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.stats import qmc

from vst_vla.vla.overlap import box_iou, box_ious

CUBE = (0, 0, 0, 2, 2, 2, 0, 0, 0)
POINTS = qmc.Sobol(3, scramble=True, seed=0).random_base2(14) - 0.5


def random_box(rng):
    degenerate = rng.random() < 0.05
    sizes = rng.uniform(0.2, 2.0, 3) * np.where([degenerate, False, False], 0.0, 1.0)
    return np.concatenate([rng.uniform(-0.6, 0.6, 3), sizes, rng.uniform(-1, 1, 3)])


def sampled_iou(a, b):
    """Shared volume by points spread evenly through the first box."""
    if min(a[3:6].min(), b[3:6].min()) <= 0:
        return 0.0
    turn = [Rotation.from_euler("xyz", box[6:] * 180, degrees=True).as_matrix() for box in (a, b)]
    inside = ((POINTS * a[3:6]) @ turn[0].T + a[:3] - b[:3]) @ turn[1]
    shared = (np.abs(inside) <= b[3:6] / 2).all(axis=1).mean() * a[3:6].prod()
    return shared / (a[3:6].prod() + b[3:6].prod() - shared)


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (CUBE, 1.0),
        ((0, 0, 0, 2, 2, 2, 0.5, 0, 0), 1.0),  # a cube turned by 90 degrees is itself
        ((1, 0, 0, 2, 2, 2, 0, 0, 0), 1 / 3),
        ((2, 0, 0, 2, 2, 2, 0, 0, 0), 0.0),  # a shared face has no volume
        ((0, 0, 0, 1, 1, 1, 0.3, 0.1, -0.7), 1 / 8),  # inside, however turned
        ((0, 0, 0, 2, 2, 2, 0, 0, 0.25), 1 / math.sqrt(2)),  # 45 degrees: a regular octagon of area 8 (sqrt 2 - 1)
        ((0, 0, 0, 2, 0, 2, 0, 0, 0), 0.0),
        ((0, 0, 0, 2, -2, 2, 0, 0, 0), 0.0),
        ((5, 5, 5, 2, 2, 2, 0, 0, 0), 0.0),
        ((0, 0, 0, 1e300, 1, 1, 0, 0, 0), 0.0),
        ((1e-13, 0, 0, 2, 2, 2, 1e-14, 0, 0), 1.0),
    ],
)
def test_hand_worked_pairs(other, iou):
    assert box_iou(CUBE, other) == pytest.approx(iou, abs=1e-9)
    assert box_iou(other, CUBE) == pytest.approx(iou, abs=1e-9)


def test_a_thousand_pairs_against_sampled_points():
    rng = np.random.default_rng(0)
    pairs = [(random_box(rng), random_box(rng)) for _ in range(1000)]
    exact = np.array([box_iou(a, b) for a, b in pairs])
    sampled = np.array([sampled_iou(a, b) for a, b in pairs])
    assert np.abs(exact - sampled).max() < 0.01
    assert 0.2 < np.mean(exact > 0.05) < 1


def test_tables_have_a_row_for_each_first_box():
    assert box_ious([CUBE, CUBE], [CUBE]).tolist() == [[1.0], [1.0]]
    assert box_ious([], [CUBE]).shape == (0, 1)
