"""Grasps and places on scenes made of boxes: what is held, from where, and where it is put."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from vst_vla.policies.expert.geometry import Box
from vst_vla.policies.expert.grasp import distinct, find_grasps, top_grasp
from vst_vla.policies.expert.handroom import FINGER_TIP
from vst_vla.policies.expert.heights import Heights, heights, heights_of
from vst_vla.policies.expert.insert import insert
from vst_vla.policies.expert.put_down import put_down
from vst_vla.policies.expert.rest import find_rests
from vst_vla.policies.expert.situation import Situation
from vst_vla.policies.expert.spot import Spot
from vst_vla.vla.contracts import Array

FLOOR = Box(center=np.array([0, 0, -0.05]), rotation=np.eye(3), half=np.array([1, 1, 0.05]))


def block(x: float, y: float, *, half: tuple[float, float, float], yaw: float = 0.0, bottom: float = 0.0) -> Box:
    cosine, sine = np.cos(yaw), np.sin(yaw)
    rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1.0]])
    return Box(center=np.array([x, y, bottom + half[2]]), rotation=rotation, half=np.array(half))


def bowl(radius: float = 0.05) -> list[Box]:
    walls = [
        block(radius * np.cos(a), radius * np.sin(a), half=(0.004, 0.012, 0.025), yaw=a)
        for a in np.linspace(0, 2 * np.pi, 16, endpoint=False)
    ]
    return [block(0, 0, half=(radius, radius, 0.003)), *walls]


def table(*boxes: Box) -> Heights:
    return heights([FLOOR, *boxes], low=np.array([-0.35, -0.35]), high=np.array([0.35, 0.35]))


def situation(item: list[Box], *others: Box, spot: Spot, middle: tuple[float, float] = (0.0, 0.0)) -> Situation:
    return Situation(
        origin=np.zeros(3),
        rotation=np.eye(3),
        middle=np.array(middle),
        boxes=item,
        shape=heights_of(item),
        around=table(*others),
        others=[FLOOR, *others],
        spot=spot,
        seen=np.zeros((1, 3)),
        shared=False,
    )


def spot_at(x: float, y: float, z: float, *, half: tuple[float, float, float]) -> Spot:
    return Spot(middle=np.array([x, y, z]), half=np.array(half), rotation=np.eye(3), relation="in")


@pytest.mark.parametrize("yaw", [0.0, 0.5, 1.2])
def test_a_long_block_is_held_across_its_narrow_side_at_its_middle(yaw: float) -> None:
    item = heights_of([block(0, 0, half=(0.02, 0.06, 0.02), yaw=yaw)])
    best = find_grasps(item, table(), middle=np.zeros(2))[0]
    apart = (best.heading - yaw + np.pi / 2) % np.pi - np.pi / 2
    assert abs(apart) < np.deg2rad(12)
    assert np.linalg.norm(best.position[:2]) < 0.012
    assert FINGER_TIP < best.position[2] < 0.034


def test_a_bowl_is_held_by_its_rim_square_to_the_wall() -> None:
    best = find_grasps(heights_of(bowl()), table(), middle=np.zeros(2))[0]
    radial = best.position[:2] / np.linalg.norm(best.position[:2])
    assert np.linalg.norm(best.position[:2]) == pytest.approx(0.05, abs=0.006)
    assert abs(radial @ [np.cos(best.heading), np.sin(best.heading)]) > 0.97


def test_the_rim_is_held_away_from_a_tall_neighbour() -> None:
    free = find_grasps(heights_of(bowl()), table(), middle=np.zeros(2))[0]
    side = float(np.sign(free.position[1]))
    neighbour = block(0, side * 0.11, half=(0.15, 0.04, 0.1))
    best = find_grasps(heights_of(bowl()), table(neighbour), middle=np.zeros(2))[0]
    assert best.position[1] * side < 0.02


def test_what_lies_too_flat_has_no_grasp() -> None:
    item = heights_of([block(0, 0, half=(0.02, 0.06, 0.005))])
    assert find_grasps(item, table(), middle=np.zeros(2)) == []
    assert top_grasp(item, middle=np.zeros(2)).position == pytest.approx([0, 0, 0.004])


def test_what_is_wider_than_the_hand_is_held_at_a_corner_at_best() -> None:
    item = heights_of([block(0, 0, half=(0.06, 0.06, 0.06))])
    grasps = find_grasps(item, table(), middle=np.zeros(2))
    assert all(np.abs(grasp.position[:2]).min() > 0.03 for grasp in grasps)


def test_distinct_grasps_keep_the_best_first_and_differ() -> None:
    grasps = find_grasps(heights_of(bowl()), table(), middle=np.zeros(2))
    kept = distinct(grasps, most=8)
    assert kept[0] is grasps[0]
    assert len(kept) == 8
    for one, other in pairwise(kept):
        far = np.linalg.norm(one.position - other.position) >= 0.015
        assert far or abs(one.heading - other.heading) >= 0.2


def rest_heights(turns: list[float], *, apart: Array | None = None, wall: float = 0.1) -> tuple[Array, float]:
    box = [block(0, 0, half=(0.02, 0.05, 0.03))]
    walls = [block(0.2 + side * 0.04, 0, half=(0.005, 0.1, wall / 2)) for side in (-1, 1)]
    spot = spot_at(0.2, 0.0, 0.05, half=(0.03, 0.08, 0.06))
    best = find_rests(heights_of(box), table(*walls), spot, origin=np.zeros(3), turns=turns, apart=apart)[0]
    return best.origin, best.turn


def test_a_thing_rests_between_walls_on_the_floor() -> None:
    origin, turn = rest_heights([0.0, np.pi / 2])
    assert origin == pytest.approx([0.2, 0.0, 0.0], abs=0.009)
    assert turn == 0.0


def test_room_is_left_for_a_second_thing() -> None:
    origin, _ = rest_heights([0.0], apart=np.array([0.1, 0.05]))
    assert abs(origin[1]) >= 0.05


def test_putting_down_turns_a_thing_that_fits_one_way_only() -> None:
    item = [block(0, 0, half=(0.06, 0.015, 0.05))]
    walls = [block(0.2 + side * 0.04, 0, half=(0.005, 0.15, 0.05)) for side in (-1, 1)]
    seen = situation(item, *walls, spot=spot_at(0.2, 0.0, 0.05, half=(0.03, 0.08, 0.06)))
    way = put_down(seen, find_grasps(seen.shape, seen.around, middle=seen.middle))
    assert abs(way.turn) == pytest.approx(np.pi / 2)
    assert way.origin[:2] == pytest.approx([0.2, 0.0], abs=0.02)
    assert not way.slide.any()


def test_a_thing_is_put_between_walls_that_are_hardly_wider() -> None:
    item = [block(0, 0, half=(0.02, 0.03, 0.04))]
    walls = [block(0.204 + side * 0.0265, 0, half=(0.004, 0.1, 0.02)) for side in (-1, 1)]  # 2.5 mm beside it
    seen = situation(item, *walls, spot=spot_at(0.2, 0.0, 0.02, half=(0.03, 0.08, 0.015)))
    assert not find_rests(seen.shape, seen.around, seen.spot, origin=seen.origin, turns=[0.0], apart=None)
    way = put_down(seen, find_grasps(seen.shape, seen.around, middle=seen.middle))
    assert way.origin[0] == pytest.approx(0.204, abs=0.003)
    assert way.origin[2] == pytest.approx(0.0, abs=0.002)


def test_without_any_place_a_thing_is_brought_over_the_spot() -> None:
    item = [block(0, 0, half=(0.02, 0.03, 0.04))]
    walls = [block(0.2 + side * 0.02, 0, half=(0.004, 0.1, 0.2)) for side in (-1, 1)]
    seen = situation(item, *walls, spot=spot_at(0.2, 0.0, 0.05, half=(0.015, 0.08, 0.06)))
    way = put_down(seen, find_grasps(seen.shape, seen.around, middle=seen.middle))
    assert way.origin[:2] == pytest.approx([0.2, 0.0])


def oven() -> list[Box]:
    sides = [block(0.2 + side * 0.13, 0.2, half=(0.01, 0.1, 0.1)) for side in (-1, 1)]
    back = block(0.2, 0.31, half=(0.14, 0.01, 0.1))
    return [*sides, back, block(0.2, 0.2, half=(0.14, 0.1, 0.01), bottom=0.19)]


def mug() -> list[Box]:
    return [*bowl(0.035), block(0.0, -0.055, half=(0.005, 0.02, 0.012), bottom=0.02)]


def test_a_mug_goes_under_a_roof_handle_outside() -> None:
    seen = situation(mug(), *oven(), spot=spot_at(0.2, 0.2, 0.1, half=(0.1, 0.08, 0.08)))
    way = insert(seen, find_grasps(seen.shape, seen.around, middle=seen.middle))
    assert way is not None
    assert way.slide[1] > 0.1  # in through the open side
    assert way.slide[[0, 2]] == pytest.approx(0.0)
    assert way.position[1] < -0.035  # by its handle
    assert way.rotation[1, 2] > 0.5  # fingers lean inwards
    assert abs(way.turn) < 0.3
    assert way.origin[1] > 0.12  # past the front edge of the spot


def test_an_open_spot_is_not_slid_into() -> None:
    seen = situation(mug(), spot=spot_at(0.2, 0.2, 0.1, half=(0.1, 0.08, 0.08)))
    assert insert(seen, find_grasps(seen.shape, seen.around, middle=seen.middle)) is None
