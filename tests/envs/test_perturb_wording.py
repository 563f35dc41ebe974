"""Sentences about goals, outlines and requests: everything of envs/perturb that needs no simulator."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from vst_vla.envs.perturb.light import DAYLIGHT, tint
from vst_vla.envs.perturb.outlines import gap
from vst_vla.envs.perturb.perturbation import AXES, Perturbation
from vst_vla.envs.perturb.things import Region, Thing
from vst_vla.envs.perturb.wording import Wording

BOWL = "akita black bowl"
DRAWER = Region(name="wooden_cabinet_1_top_region", owner="wooden_cabinet_1", joints=("slide",))
REGIONS = {
    region.name: region
    for region in (
        DRAWER,
        Region(name="wooden_cabinet_1_top_side", owner="wooden_cabinet_1", joints=()),
        Region(name="flat_stove_1_cook_region", owner="flat_stove_1", joints=()),
        Region(name="basket_1_contain_region", owner="basket_1", joints=()),
        Region(name="desk_caddy_1_back_contain_region", owner="desk_caddy_1", joints=()),
        Region(name="microwave_1_heating_region", owner="microwave_1", joints=()),
    )
}
SQUARE = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], dtype=float)


def thing(name: str, kind: str, x: float, y: float, **more: Any) -> Thing:
    return Thing(name=name, kind=kind, x=x, y=y, radius=0.05, **{"fixture": False, **more})


def wording(*things: Thing, picks: bool = True) -> Wording:
    fixtures = [
        thing("wooden_cabinet_1", "wooden cabinet", 0.0, -0.3, fixture=True),
        thing("flat_stove_1", "flat stove", -0.3, -0.2, fixture=True),
        thing("desk_caddy_1", "desk caddy", -0.3, 0.3, fixture=True),
        thing("microwave_1", "microwave", 0.3, 0.3, fixture=True),
    ]
    return Wording({t.name: t for t in (*things, *fixtures)}, REGIONS, picks=picks)


def bowls(*places: tuple[float, float], **more: Any) -> list[Thing]:
    return [thing(f"bowl_{i}", BOWL, x, y, **(more if i == 1 else {})) for i, (x, y) in enumerate(places, start=1)]


PLATE = thing("plate_1", "plate", 0.3, 0.0)
RAMEKIN = thing("ramekin_1", "glazed rim porcelain ramekin", -0.2, 0.2)


@pytest.mark.parametrize(
    ("goal", "picked", "put"),
    [
        (("in", "milk_1", "basket_1_contain_region"), "pick up the milk and place it in the basket", None),
        (("on", "milk_1", "plate_1"), "pick up the milk and place it on the plate", "put the milk on the plate"),
        (("on", "milk_1", "flat_stove_1_cook_region"), None, "put the milk on the stove"),
        (("on", "milk_1", "wooden_cabinet_1_top_side"), None, "put the milk on top of the cabinet"),
        (("in", "milk_1", "wooden_cabinet_1_top_region"), None, "put the milk in the top drawer of the cabinet"),
        (("in", "milk_1", "microwave_1_heating_region"), None, "put the milk in the microwave"),
        (("on", "milk_1", "bowl_1"), None, "put the milk in the black bowl"),
        (
            ("in", "milk_1", "desk_caddy_1_back_contain_region"),
            "pick up the milk and place it in the back compartment of the caddy",
            None,
        ),
        (("open", "wooden_cabinet_1_top_region"), None, "open the top drawer of the cabinet"),
        (("close", "microwave_1"), None, "close the microwave"),
        (("turnon", "flat_stove_1"), None, "turn on the stove"),
    ],
)
def test_goals_are_said_in_liberos_patterns(goal: tuple[str, ...], picked: str | None, put: str | None) -> None:
    things = (thing("milk_1", "milk", 0, 0), thing("basket_1", "basket", 0.2, 0.2), PLATE, *bowls((0.1, -0.1)))
    if picked is not None:
        assert wording(*things).sentences([goal]) == [picked]
    if put is not None:
        assert wording(*things, picks=False).sentences([goal]) == [put]


def test_two_goods_for_one_basket_share_a_sentence() -> None:
    things = (thing("milk_1", "milk", 0, 0), thing("butter_1", "butter", 0.1, 0), thing("basket_1", "basket", 0.2, 0.2))
    goal = [("in", name, "basket_1_contain_region") for name in ("milk_1", "butter_1")]
    assert wording(*things).sentences(goal) == ["put both the milk and the butter in the basket"]


@pytest.mark.parametrize(
    ("things", "expected"),
    [
        (bowls((0, 0), (0, 0.3)), {"on the left"}),
        (bowls((0, 0.3), (0, 0)), {"on the right"}),
        (bowls((0.2, 0), (0, 0.01)), {"at the front"}),
        (bowls((0, 0), (0.2, 0.01)), {"at the back"}),
        (bowls((0, 0), (0.01, 0.01)), set()),
        (bowls((0, 0), (0.2, 0.2), (-0.2, -0.2)), set()),
        ([*bowls((0, 0), (0.01, 0), support=RAMEKIN.name), RAMEKIN], {"on the ramekin"}),
        (bowls((0, 0), (0.01, 0), support=DRAWER.name), {"in the top drawer of the wooden cabinet"}),
        (bowls((0, 0), (0.01, 0), support="wooden_cabinet_1_top_side"), {"on the wooden cabinet"}),
        (bowls((0, 0), (0.01, 0), support="flat_stove_1_cook_region"), {"on the stove"}),
        ([*bowls((0.16, 0), (-0.3, 0.01)), PLATE], {"next to the plate", "at the front"}),
        ([*bowls((0.05, 0.1), (0.1, -0.3)), PLATE, RAMEKIN], {"between the plate and the ramekin", "on the right"}),
        ([*bowls((0.05, 0.1), (0.05, 0.1)), PLATE, RAMEKIN], set()),
    ],
)
def test_one_of_two_bowls_is_told_apart_by_what_is_true(things: list[Thing], expected: set[str]) -> None:
    assert set(wording(*things).items("bowl_1")) == {f"black bowl {where}" for where in expected}


def test_a_receptacle_is_told_apart_by_its_side() -> None:
    things = [thing("plate_1", "plate", 0, -0.3), thing("plate_2", "plate", 0, 0.3), thing("milk_1", "milk", 0, 0)]
    said = wording(*things, picks=False)
    assert said.sentences([("on", "milk_1", "plate_1")]) == ["put the milk on the left plate"]
    assert said.sentences([("on", "milk_1", "plate_2")]) == ["put the milk on the right plate"]


@pytest.mark.parametrize(("picks", "item"), [(True, "black bowl on the left"), (False, "left black bowl")])
def test_sides_are_said_as_the_pattern_wants(picks: bool, item: str) -> None:
    assert wording(*bowls((0, 0), (0, 0.3)), picks=picks).items("bowl_1") == [item]


def test_only_a_goal_that_an_exchange_changes_is_ambiguous() -> None:
    said = wording(*bowls((0, 0), (0, 0.3)), PLATE)
    stove = "flat_stove_1_cook_region"
    assert said.is_ambiguous([("on", "bowl_1", "plate_1")])
    assert not said.is_ambiguous([("on", "bowl_1", stove), ("on", "bowl_2", stove)])
    assert not said.is_ambiguous([("turnon", "flat_stove_1")])


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (SQUARE + np.array([1.5, 0]), 0.5),
        (SQUARE + np.array([0, -3]), 2.0),
        (SQUARE + np.array([0.75, 0.5]), -0.25),
        ((SQUARE - 0.5) @ np.array([[1, 1], [-1, 1]]) / np.sqrt(2) + np.array([2.0, 0.5]), 1.0 - np.sqrt(0.5)),
    ],
)
def test_gaps_between_outlines(other: Any, expected: float) -> None:
    assert gap(SQUARE, other) == pytest.approx(expected)
    assert gap(other, SQUARE) == pytest.approx(expected)


def test_tints_are_neutral_at_daylight_and_warm_below() -> None:
    np.testing.assert_allclose(tint(DAYLIGHT), 1.0)
    red, green, blue = tint(3000.0)
    assert red > green > blue > 0
    assert tint(10000.0)[2] > 1 > tint(10000.0)[0]


def test_a_request_is_plain_data() -> None:
    request = Perturbation(axes=tuple(AXES), seed=(1, 2), strength=0.5)
    assert pickle.loads(pickle.dumps(request)) == request
    assert json.dumps(request.__dict__)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": ("layuot",)}, "unknown axis 'layuot': did you mean 'layout'"),
        ({"axes": ("goal", "goal")}, "name one twice: give each once"),
        ({"strength": 0.0}, "strength is 0, expected more than 0 and at most 1"),
        ({"strength": 1.5}, "strength is 1.5, expected"),
        ({"strength": float("nan")}, "strength is nan, expected"),
    ],
)
def test_bad_requests_are_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        Perturbation(**{"axes": ("goal",), "seed": (0,), **changes})
    assert "\n" not in str(caught.value)
