"""Out from under what hangs over an object, before it is lifted."""

from __future__ import annotations

import numpy as np

from vst_vla.policies.expert.aside import step_aside
from vst_vla.policies.expert.geometry import Box
from vst_vla.policies.expert.heights import heights, heights_of
from vst_vla.policies.expert.situation import Situation
from vst_vla.policies.expert.spot import Spot
from vst_vla.vla.contracts import Array


def box(low: tuple[float, float, float], high: tuple[float, float, float]) -> Box:
    middle = (np.array(low) + high) / 2
    return Box(center=middle, rotation=np.eye(3), half=np.array(high) - middle)


def way_from_under(*others: Box) -> Array:
    """For a cube of 10 cm that stands on the ground, in the middle."""
    cube, ground = box((-0.05, -0.05, 0.0), (0.05, 0.05, 0.1)), box((-0.4, -0.4, -0.01), (0.4, 0.4, 0.0))
    around = [ground, *others]
    return step_aside(
        Situation(
            origin=np.zeros(3),
            rotation=np.eye(3),
            middle=np.zeros(2),
            boxes=[cube],
            shape=heights_of([cube]),
            around=heights(around, low=np.array([-0.4, -0.4]), high=np.array([0.4, 0.4])),
            others=around,
            spot=Spot(middle=np.zeros(3), half=np.full(3, 0.1), rotation=np.eye(3), relation="in"),
            seen=np.zeros((1, 3)),
            shared=False,
        )
    )


SHELF = box((0.02, -0.4, 0.2), (0.4, 0.4, 0.22))


def test_under_the_open_sky_it_stays() -> None:
    assert not way_from_under().any()
    assert not way_from_under(box((0.1, -0.4, 0.2), (0.4, 0.4, 0.22))).any()


def test_it_takes_the_shortest_way_out() -> None:
    way = way_from_under(SHELF)
    assert -0.08 < way[0] < -0.05
    assert abs(way[1]) < 0.03
    assert way[2] == 0


def test_it_passes_over_a_plate_but_not_through_a_wall() -> None:
    plate, wall = (box((-0.2, -0.1, 0.0), (-0.06, 0.1, height)) for height in (0.02, 0.1))
    np.testing.assert_array_equal(way_from_under(SHELF, plate), way_from_under(SHELF))
    way = way_from_under(SHELF, wall)
    assert way[0] < -0.05
    assert abs(way[1]) > 0.1


def test_it_stays_where_there_is_no_way_out() -> None:
    assert not way_from_under(box((-0.4, -0.4, 0.2), (0.4, 0.4, 0.22))).any()
