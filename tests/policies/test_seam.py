"""What is lost between two chunks is made up, within the action's range, and nothing else is touched."""

from __future__ import annotations

import numpy as np

from vst_vla.policies.seam import SHARE, caught_up, faded
from vst_vla.vla.contracts import LIBERO_ACTION


def chunk(value: float, *, length: int = 8) -> np.ndarray:
    actions = np.full((length, 7), value)
    actions[:, 6] = 1.0
    return actions


def test_the_path_meets_half_of_what_was_lost_and_the_gripper_is_left_alone():
    planned, ran = chunk(0.1), [np.full(7, -0.1)] * 3
    mended = caught_up(planned, ran=ran, over=2, spec=LIBERO_ACTION)
    np.testing.assert_allclose((mended - planned).sum(axis=0)[:6], SHARE * 3 * 0.2)
    np.testing.assert_array_equal(mended[:, 6], 1.0)
    np.testing.assert_array_equal(mended[:3], planned[:3])
    np.testing.assert_array_equal(mended[5:], planned[5:])


def test_what_exceeds_the_range_moves_on_as_far_as_there_are_actions():
    planned = chunk(0.9)
    mended = caught_up(planned, ran=[np.full(7, 0.5)] * 2, over=3, spec=LIBERO_ACTION)  # 0.4 lost, 0.3 of room
    np.testing.assert_allclose(mended[2:5, 0], 1.0)
    assert mended.max() <= 1.0
    short = caught_up(planned[:3], ran=[np.full(7, 0.5)] * 2, over=3, spec=LIBERO_ACTION)
    np.testing.assert_allclose(short[2, 0], 1.0)


def test_nothing_changes_where_the_plans_agree_or_the_arm_held():
    planned = chunk(0.3)
    np.testing.assert_array_equal(caught_up(planned, ran=list(planned[:4]), over=2, spec=LIBERO_ACTION), planned)
    np.testing.assert_array_equal(caught_up(planned, ran=[None] * 4, over=2, spec=LIBERO_ACTION), planned)
    np.testing.assert_array_equal(caught_up(planned, ran=[chunk(0.0)[0]] * 4, over=0, spec=LIBERO_ACTION), planned)


def test_places_fade_from_the_old_chunk_into_the_new_one():
    mixed = faded(chunk(0.9), old=list(chunk(0.0)[:2]), passed=3)
    np.testing.assert_allclose(mixed[2:6, 0], [0.9, 0.3, 0.6, 0.9])
    np.testing.assert_array_equal(faded(chunk(0.9, length=4), old=[], passed=3), chunk(0.9, length=4))


def test_a_repeated_correction_dies_down():
    """A hand 0.8 beside its goal; the policy corrects at once, and every reply comes four periods late."""
    place, ran, plan, seen = 0.8, [], np.zeros((8, 7)), []
    for _ in range(12):
        seen.append(place)
        fresh = np.zeros((8, 7))
        fresh[:4, 0] = -place / 4
        current = plan[4:] if len(plan) else plan
        ran = [current[i] for i in range(4)]
        place += sum(action[0] for action in ran)
        plan = caught_up(fresh, ran=ran, over=2, spec=LIBERO_ACTION)
    assert abs(place) < 0.05
    assert max(-min(seen), 0) < 0.4, "it hardly swings over"
