"""`vst-vla rollout`: a policy in closed loop, its records, its videos, its report."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vst_vla.envs.record import EpisodeRecord, count_successes
from vst_vla.envs.report import make_report, write_report
from vst_vla.envs.rollout import RolloutSettings, rollout
from vst_vla.envs.suites import num_tasks
from vst_vla.policies.baselines import RandomPolicy, ShuffledImages, ZeroPolicy
from vst_vla.scripts.config import compose
from vst_vla.scripts.memory import PeakMemory
from vst_vla.vla.contracts import Policy, unknown_name

Config = dict[str, Any]


def main(argv: list[str]) -> int:
    """Runs the episodes of configs/rollout.yaml and writes OUT/report.json and OUT/report.html."""
    config = compose("rollout", argv)
    out, start = Path(config["out"]), time.monotonic()
    for name in config["sanity"]:
        if name not in POLICIES:
            raise unknown_name("sanity policy", name, POLICIES)
    with PeakMemory() as memory:
        records = run(config, out=out)
        baselines = [
            run(sanity_config(config, name, chunk=records[0].run.execute), out=out / "sanity" / name)
            for name in config["sanity"]
        ]
    report = make_report(records, wall_s=time.monotonic() - start, peak_rss_gib=memory.peak_gib, baselines=baselines)
    page = write_report(report, records, out=out)
    for name, episodes in zip([config["policy"]["name"], *config["sanity"]], [records, *baselines], strict=True):
        print(f"{name}: {count_successes(episodes)}/{len(episodes)} episodes succeeded")
    print(f"watch them: {page}")
    return 0


def run(config: Config, *, out: Path) -> list[EpisodeRecord]:
    """One policy's episodes."""
    name = config["policy"]["name"]
    settings = RolloutSettings(
        suite=config["suite"],
        task_ids=task_ids(config["task_ids"], suite=config["suite"]),
        init_states=init_states(config["init_states"]),
        max_steps=max_steps(config["max_steps"]),
        policy=name,
        **{key: config[key] for key in PASSED_ON},
    )
    policy, checkpoint, chunk = make_policy(config)
    return rollout(policy, settings=replace(settings, checkpoint=checkpoint, execute=chunk), out=out)


PASSED_ON = ("num_envs", "image_size", "seed", "video", "num_videos", "video_size", "render_device")

Made = tuple[Policy, str, int]
"""A policy, the hash of its checkpoint or "", and how many actions it returns."""


def make_policy(config: Config) -> Made:
    """The policy that `config["policy"]` describes. Raises ValueError for an unknown one or a missing checkpoint."""
    name = config["policy"]["name"]
    if name not in POLICIES:
        raise unknown_name("policy", name, POLICIES)
    return POLICIES[name](config)


def sanity_config(config: Config, name: str, *, chunk: int) -> Config:
    """The run again with another policy, which executes as many actions a chunk as the one it is compared with."""
    return config | {"policy": {"device": "auto", **config["policy"], "name": name, "chunk": chunk, "replan": chunk}}


def _vla(config: Config) -> Made:
    from vst_vla.policies.vla_policy import VLAPolicy

    if not config["checkpoint"]:
        raise ValueError("give checkpoint=DIR, a policy's folder, or policy=random or policy=zero")
    section = config["policy"]
    policy = VLAPolicy(config["checkpoint"], device=section["device"], replan=section["replan"])
    return policy, policy.checkpoint, policy.chunk


def _shuffled(config: Config) -> Made:
    policy, checkpoint, chunk = _vla(config)
    return ShuffledImages(policy, seed=config["seed"]), checkpoint, chunk


def _random(config: Config) -> Made:
    policy = RandomPolicy(seed=config["seed"], chunk=config["policy"]["chunk"])
    return policy, "", policy.chunk


def _zero(config: Config) -> Made:
    policy = ZeroPolicy(chunk=config["policy"]["chunk"])
    return policy, "", policy.chunk


POLICIES: dict[str, Callable[[Config], Made]] = {"vla": _vla, "shuffled": _shuffled, "random": _random, "zero": _zero}


def task_ids(given: Any, *, suite: str) -> tuple[int, ...]:
    """A list of numbers, one number, or `all`."""
    if given == "all":
        return tuple(range(num_tasks(suite)))
    return _numbers(given if isinstance(given, list) else [given], key="task_ids", form="a number, a list, or all")


def init_states(given: Any) -> tuple[int, ...]:
    """A list of numbers, or how many from the first on."""
    form = "a list of numbers, or how many"
    if isinstance(given, list):
        return _numbers(given, key="init_states", form=form)
    (count,) = _numbers([given], key="init_states", form=form)
    return tuple(range(count))


def max_steps(given: Any) -> int | None:
    """A number, or `horizon`."""
    return None if given == "horizon" else _numbers([given], key="max_steps", form="a number, or horizon")[0]


def _numbers(given: list[Any], *, key: str, form: str) -> tuple[int, ...]:
    try:
        return tuple(int(str(item)) for item in given)
    except ValueError as error:
        raise ValueError(f"{key} is {given}, expected {form}") from error
