"""Protocols: what the yamls hold, and everything in which a run can differ from one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from vst_vla.envs.assets import Assets
from vst_vla.envs.protocol import Conditions, EvalProtocol, deviations
from vst_vla.envs.rollout_settings import RolloutSettings, Variation, protocol_report
from vst_vla.envs.suites import HORIZONS
from vst_vla.scripts.rollout import init_states, read_protocol, task_ids, variations

OBSERVED = Conditions(
    suite="libero_spatial",
    task_ids=range(10),
    num_tasks=10,
    init_states=range(50),
    max_steps=220,
    settle_steps=10,
    image_size=256,
    env_seed=0,
    execute=1,
    assets="official",
)
FOUR = ("libero_spatial", "libero_object", "libero_goal", "libero_10")


@pytest.mark.parametrize(
    ("name", "trials", "horizons", "size", "seeds", "replan"),
    [
        ("openvla", 50, (220, 280, 300, 520), 256, (0, 0), None),
        ("openpi", 50, (220, 280, 300, 520), 256, (7, 7), 5),
        ("lerobot", 10, (280, 280, 300, 520), 360, (1000, 1003), None),
        ("vst_vla", 20, (220, 280, 300, 520), 256, (0, 0), None),
    ],
)
def test_what_the_yamls_say(
    name: str, trials: int, horizons: tuple[int, ...], size: int, seeds: tuple[int, int], replan: int | None
) -> None:
    protocol = read_protocol(name)
    assert (protocol.name, protocol.trials, protocol.image_size, protocol.settle_steps) == (name, trials, size, 10)
    assert tuple(map(protocol.horizon, FOUR)) == horizons
    assert (protocol.seed_of(0), protocol.seed_of(3)) == seeds
    assert protocol.replan == replan
    assert protocol.source


def test_an_unknown_name_gets_a_hint() -> None:
    with pytest.raises(ValueError, match="unknown protocol 'openvlla': did you mean 'openvla'"):
        read_protocol("openvlla")
    with pytest.raises(ValueError, match="unknown suite of protocol openvla 'libero_100'"):
        read_protocol("openvla").horizon("libero_100")


def test_a_run_by_the_book_deviates_in_nothing() -> None:
    assert deviations(read_protocol("openvla"), OBSERVED) == []


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"task_ids": [0]}, "1 of 10 tasks"),
        ({"init_states": range(20)}, "20 trials a task instead of 50"),
        ({"init_states": [3, 5]}, "initial states 3, 5 instead of 0 to 49"),
        ({"max_steps": 100}, "control steps 100 instead of 220"),
        ({"settle_steps": 50}, "settling steps 50 instead of 10"),
        ({"image_size": 128}, "pixels 128 instead of 256"),
        ({"env_seed": 7}, "simulator seed 7 instead of 0"),
        ({"assets": "stand-in"}, "assets stand-in instead of official"),
        ({"axes": ["camera"]}, "scenes changed along camera"),
    ],
)
def test_each_deviation_is_told(change: dict[str, Any], phrase: str) -> None:
    assert deviations(read_protocol("openvla"), replace(OBSERVED, **change)) == [phrase]


def test_executed_actions_matter_where_the_protocol_fixes_them() -> None:
    openpi = read_protocol("openpi")
    assert deviations(openpi, replace(OBSERVED, env_seed=7)) == ["executed actions 1 instead of 5"]
    assert deviations(openpi, replace(OBSERVED, env_seed=7, execute=5)) == []


def test_a_report_of_a_run_says_what_it_left_out() -> None:
    protocol = read_protocol("lerobot")
    settings = RolloutSettings(
        suite="libero_spatial",
        task_ids=(0,),
        init_states=tuple(range(10)),
        protocol=protocol,
        image_size=360,
        variations=(Variation(), Variation(axes=("light",), strength=0.5)),
    )
    assert (settings.horizon, HORIZONS["libero_spatial"]) == (280, 220)
    assert len(settings.keys) == 20
    run = settings.identity(assets=Assets(path=None, kind="stand-in"))  # type: ignore[arg-type]
    told = protocol_report(protocol, settings.keys, run=run)
    assert told["deviations"] == ["1 of 10 tasks", "assets stand-in instead of official", "scenes changed along light"]


def test_what_is_left_to_the_protocol() -> None:
    assert task_ids("protocol", suite="libero_object", whole=True) == tuple(range(10))
    assert task_ids("protocol", suite="libero_object", whole=False) == (0,)
    assert init_states(3) == (0, 1, 2)


@pytest.mark.parametrize(("change", "message"), [({"trials": 0}, "trials is 0"), ({"env_seed": -1}, "env_seed is -1")])
def test_impossible_numbers_are_refused(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"name": "x", "source": "x", "trials": 1, "horizons": None, "settle_steps": 0}
    good |= {"image_size": 64, "env_seed": 0}
    assert EvalProtocol(**good).horizon("libero_10") == 520
    with pytest.raises(ValueError, match=f"protocol.{message}"):
        EvalProtocol(**{**good, **change})


def test_axes_together_or_each_by_itself() -> None:
    keys: dict[str, Any] = {"vary": ["light", "camera"], "vary_strength": [0.5, 1.0], "vary_each": False}
    assert variations(keys) == tuple(Variation(axes=("camera", "light"), strength=s) for s in (0.5, 1.0))
    each = variations({**keys, "vary_each": True})
    assert each[0] == Variation()
    assert [(v.axes, v.strength) for v in each[1:]] == [((a,), s) for a in ("light", "camera") for s in (0.5, 1.0)]
    assert variations({**keys, "vary": []}) == (Variation(),)
    with pytest.raises(ValueError, match=r"vary 'camera' is no list: give vary=\[camera\]"):
        variations({**keys, "vary": "camera"})
    with pytest.raises(ValueError, match="unknown axis 'lights': did you mean 'light'"):
        variations({**keys, "vary": ["lights"]})
