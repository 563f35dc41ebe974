"""The height map of a scene, against boxes whose surfaces are known."""

from __future__ import annotations

import numpy as np
import pytest

from vst_vla.policies.expert.geometry import Box
from vst_vla.policies.expert.heights import PITCH, Heights, heights, heights_of
from vst_vla.policies.expert.transit import CLEARANCE, over


def box(*, center: tuple[float, float, float], half: tuple[float, float, float], tilt: float = 0.0) -> Box:
    cosine, sine = np.cos(tilt), np.sin(tilt)
    rotation = np.array([[cosine, 0, sine], [0, 1.0, 0], [-sine, 0, cosine]])
    return Box(center=np.array(center), rotation=rotation, half=np.array(half))


def table(*boxes: Box) -> Heights:
    floor = box(center=(0, 0, -0.05), half=(1, 1, 0.05))
    return heights([floor, *boxes], low=np.array([-0.4, -0.4]), high=np.array([0.4, 0.4]))


def test_a_box_raises_the_map_over_itself_only() -> None:
    scene = table(box(center=(0.1, 0.0, 0.05), half=(0.03, 0.02, 0.05)))
    points = np.array([[0.1, 0.0], [0.125, 0.015], [0.14, 0.0], [0.1, 0.03], [0.9, 0.0]])
    np.testing.assert_allclose(scene.top_at(points), [0.1, 0.1, 0.0, 0.0, -np.inf])


@pytest.mark.parametrize("place", [-0.4, 0.4])
def test_what_is_added_may_reach_over_the_edge(place: float) -> None:
    """Half of it lies outside; what comes in at one side must not come out at the other."""
    item = heights_of([box(center=(place, 0.0, 0.05), half=(0.05, 0.05, 0.05))])
    scene = table().with_top_of(item)
    points = np.array([[0.9 * place, 0.0], [0.85 * place, 0.0], [-0.98 * place, 0.0]])
    np.testing.assert_allclose(scene.top_at(points), [0.1, 0.0, 0.0])


def test_a_tilted_plate_is_met_where_the_vertical_enters_and_leaves_it() -> None:
    tilt = np.deg2rad(30)
    plate = heights_of([box(center=(0, 0, 0.2), half=(0.1, 0.05, 0.004), tilt=tilt)])
    for x in (-0.05, 0.0, 0.05):
        middle = 0.2 - x * np.tan(tilt)
        assert plate.top_at(np.array([x, 0.0])) == pytest.approx(middle + 0.004 / np.cos(tilt), abs=PITCH)
    assert float(plate.underside.min()) < float(plate.top.max()) - 0.09


def test_a_widened_map_reaches_as_far_as_it_is_told() -> None:
    scene = table(box(center=(0, 0, 0.05), half=(0.02, 0.02, 0.05))).widened(0.02)
    assert scene.top_at(np.array([0.036, 0.0])) == pytest.approx(0.1)
    assert scene.top_at(np.array([0.05, 0.0])) == pytest.approx(0.0)


def test_the_way_over_a_wall_goes_up_first_and_comes_down_behind_it() -> None:
    scene = table(box(center=(0, 0, 0.1), half=(0.01, 0.3, 0.1)))
    goal = np.array([0.2, 0.0, 0.02])
    first = over(scene, start=np.array([-0.2, 0.0, 0.05]), goal=goal, hanging=0.01)
    assert first[:2] == pytest.approx([-0.2, 0.0])
    assert first[2] >= 0.2 + CLEARANCE + 0.01
    second = over(scene, start=np.array([-0.2, 0.0, first[2]]), goal=goal, hanging=0.01)
    assert second[:2] == pytest.approx(goal[:2])
    assert second[2] == pytest.approx(first[2])
    assert over(scene, start=np.array([0.2, 0.0, 0.2]), goal=goal, hanging=0.01) == pytest.approx(goal)


def test_the_palm_does_not_come_down_on_what_it_leaves() -> None:
    scene = table(box(center=(-0.1, 0, 0.05), half=(0.05, 0.05, 0.05)))
    start = np.array([0.0, 0.0, 0.13])  # beside the box, the palm still over it
    beside = over(scene, start=start, goal=np.array([0.2, 0.0, 0.02]), hanging=0.01)
    assert beside[2] >= 0.08
