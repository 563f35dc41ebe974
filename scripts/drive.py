"""`python -m vst_vla.scripts.drive`: an arm behind a websocket, driven by a policy behind another."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from vst_vla.envs.statistics import wilson_interval
from vst_vla.policies.chunking import Answering, AsyncChunks, RecedingHorizon, Strategy, TemporalEnsemble
from vst_vla.policies.client import PolicyClient
from vst_vla.policies.control import EpisodeReport, run_episode
from vst_vla.policies.relay import DelayRelay
from vst_vla.policies.robot import WireRobotClient
from vst_vla.policies.safety import SafetyFilter, SafetyLimits
from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status
from vst_vla.scripts.rollout import init_states
from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.files import write_json

Config = dict[str, Any]
STRATEGIES = ("sync", "ensemble", "async")
RECORDED = ("strategy", "replan", "blend", "late", "latency_ms", "jitter_ms", "speed")


def main(argv: list[str]) -> int:
    """Runs the episodes and writes the record."""
    config = compose("drive", argv)
    logging.basicConfig(level=logging.ERROR, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    limits = SafetyLimits.from_dict(config["safety"])
    limits = replace(limits, watchdog_s=limits.watchdog_s / config["speed"])
    robot = WireRobotClient(config["robot"])
    rows = []
    with policy_behind(config) as policy:
        strategy, safety = make_strategy(policy, config), SafetyFilter(limits)
        for index in init_states(config["init_states"]):
            start = robot.reset(init_state=index)
            report = run_episode(robot, start=start, strategy=strategy, safety=safety, max_ticks=config["max_ticks"])
            rows.append({"init_state": index, **report.to_dict()})
            print(line(index, report), flush=True)
        strategy.close()
    robot.close()
    out = Path(config["out"])
    write_json(out, record(argv, config, rows))
    print(f"{out}: {sum(row['success'] for row in rows)}/{len(rows)} episodes succeeded")
    return 0


@contextmanager
def policy_behind(config: Config) -> Iterator[PolicyClient]:
    """A client of the server, through a slow network where one is asked for."""
    target = urlsplit(config["server"])
    relay = DelayRelay(
        target.hostname or "127.0.0.1",
        target.port or 8000,
        latency_s=config["latency_ms"] / 1e3 / config["speed"],
        jitter_s=config["jitter_ms"] / 1e3 / config["speed"],
    )
    timeout_s = config["timeout_s"] / config["speed"]
    with PolicyClient(f"ws://127.0.0.1:{relay.port}", timeout_s=timeout_s, connect_timeout_s=10) as client:
        client.wait_until_ready(timeout_s=10)
        yield client
    relay.close()


def make_strategy(policy: Answering, config: Config) -> Strategy:
    """The strategy that the configuration names. Raises ValueError for an unknown one."""
    name, replan = config["strategy"], config["replan"]
    if name == "sync":
        return RecedingHorizon(policy, replan=replan)
    if name == "ensemble":
        return TemporalEnsemble(policy, every=replan, decay=config["decay"])
    if name == "async":
        return AsyncChunks(policy, replan=replan, blend=config["blend"], late=config["late"])
    raise unknown_name("strategy", name, STRATEGIES)


def line(index: int, report: EpisodeReport) -> str:
    """One episode in words."""
    outcome = "success" if report.success else "failure"
    return f"state {index:>3}: {outcome}, {report.ticks} ticks, {report.held_ticks} held, {report.ticks_per_s:.1f}/s"


def record(argv: list[str], config: Config, rows: list[Config]) -> Config:
    """What is written: totals, then a row an episode."""
    successes, ticks = sum(row["success"] for row in rows), sum(row["ticks"] for row in rows)
    seconds = sum(row["wall_s"] for row in rows)
    return {
        "command": " ".join(["python -m vst_vla.scripts.drive", *argv]),
        "settings": {key: config[key] for key in RECORDED},
        "successes": successes,
        "episodes": len(rows),
        "interval_95": list(wilson_interval(successes, trials=len(rows))),
        "held_share": sum(row["held_ticks"] for row in rows) / ticks,
        "control_hz": ticks / seconds / config["speed"],
        "rows": rows,
    }


if __name__ == "__main__":
    sys.exit(exit_status("drive", lambda: main(sys.argv[1:])))
