"""The loop that runs an arm with a policy: one action each control period, or a hold. Without torch."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from vst_vla.policies.chunking import ChunkCounts, Strategy, TimedAction
from vst_vla.policies.robot import Robot, RobotStatus
from vst_vla.policies.safety import SafetyFilter, Watchdog


@dataclass(frozen=True, kw_only=True)
class EpisodeReport:
    """How one episode of a control loop went.

    held_ticks: control periods in which the arm did not move, because no action was there, or none was allowed.
    """

    success: bool
    ticks: int
    held_ticks: int
    wall_s: float
    watchdog: int
    clamps: dict[str, int]
    chunks: ChunkCounts

    @property
    def ticks_per_s(self) -> float:
        """Control periods a second."""
        return self.ticks / self.wall_s

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a record."""
        return asdict(self) | {"wall_s": round(self.wall_s, 3), "ticks_per_s": round(self.ticks_per_s, 3)}


def run_episode(
    robot: Robot, *, start: RobotStatus, strategy: Strategy, safety: SafetyFilter, max_ticks: int | None = None
) -> EpisodeReport:
    """Runs an arm until its episode is done.

    When the policy's server is away (a `ConnectionError`), the arm holds and the policy is asked again in the next
    control period; any other error ends the episode after a hold.

    Args:
        robot: the arm.
        start: where it stands now.
        strategy: executes the policy's chunks.
        safety: what every action passes.
        max_ticks: control periods after which the episode is cut, None for the robot's own end.
    """
    held, clamps, chunks = start.held, safety.counts.copy(), replace(strategy.counts)
    strategy.reset()
    safety.reset()
    watchdog = Watchdog(robot.hold, timeout_s=safety.limits.watchdog_s)
    began, status = time.perf_counter(), start
    try:
        while not status.done and (max_ticks is None or status.tick - start.tick < max_ticks):
            wanted = choose(strategy, robot, tick=status.tick)
            age = wanted.age if wanted else 0
            action = safety.apply(wanted.action if wanted else None, state=status.state, age=age)
            status = robot.step(action)
            watchdog.feed()
    finally:
        watchdog.close()
        robot.hold()
    return EpisodeReport(
        success=status.success,
        ticks=status.tick - start.tick,
        held_ticks=status.held - held,
        wall_s=time.perf_counter() - began,
        watchdog=watchdog.count,
        clamps=dict(safety.counts - clamps),
        chunks=strategy.counts.since(chunks),
    )


def choose(strategy: Strategy, robot: Robot, *, tick: int) -> TimedAction | None:
    """The strategy's action for this control period, None to hold; also while the policy's server is away."""
    try:
        return strategy.act(robot.observe, tick=tick)
    except ConnectionError:  # counted and logged by the strategy
        return None
