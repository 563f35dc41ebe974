"""Everything that can be evaluated or served, by the name of its yaml in `configs/policy`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from vst_vla.policies.baselines import RandomPolicy, ShuffledImages, ZeroPolicy
from vst_vla.vla.contracts import Policy, unknown_name


@dataclass(frozen=True, kw_only=True)
class Request:
    """Which policy is wanted.

    Args:
        options: the content of its yaml, `name` included.
        checkpoint: folder of its weights.
        address: where its server listens.
        data: folder of the demonstrations that it follows.
        suite: that it will be evaluated on.
        image_size: pixels of the pictures that it will be shown.
        seed: of its draws.
    """

    options: dict[str, Any] = field(default_factory=dict)
    checkpoint: str | None = None
    address: str | None = None
    data: str | None = None
    suite: str = ""
    image_size: int = 256
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Made:
    """A policy ready to act.

    chunk: actions C of a reply that are executed.
    checkpoint: hash of its files, "" when it has none.
    episodes: task and initial state of those that it can act in, None for any.
    """

    policy: Policy
    chunk: int
    checkpoint: str = ""
    episodes: tuple[tuple[int, int], ...] | None = None


def make_policy(request: Request) -> Made:
    """The policy that was asked for. Raises ValueError for an unknown one, or one that lacks what it is made of."""
    name = request.options["name"]
    if name not in MAKERS:
        raise unknown_name("policy", name, MAKERS)
    return MAKERS[name](request)


def _vla(request: Request) -> Made:
    from vst_vla.policies.vla_policy import VLAPolicy

    if not request.checkpoint:
        raise ValueError("give checkpoint=DIR, a policy's folder, or policy=random or policy=zero")
    options = {key: request.options[key] for key in ("device", "dtype", "quantize", "replan", "head")}
    policy = VLAPolicy(request.checkpoint, **options)
    return Made(policy=policy, chunk=policy.chunk, checkpoint=policy.checkpoint)


def _shuffled(request: Request) -> Made:
    made = _vla(request)
    return Made(policy=ShuffledImages(made.policy, seed=request.seed), chunk=made.chunk, checkpoint=made.checkpoint)


def _random(request: Request) -> Made:
    policy = RandomPolicy(seed=request.seed, chunk=request.options["chunk"])
    return Made(policy=policy, chunk=policy.chunk)


def _zero(request: Request) -> Made:
    policy = ZeroPolicy(chunk=request.options["chunk"])
    return Made(policy=policy, chunk=policy.chunk)


def _expert(request: Request) -> Made:
    from vst_vla.policies.expert.inside import ExpertInside

    policy = ExpertInside(chunk=request.options["chunk"])
    return Made(policy=policy, chunk=policy.chunk)


def _server(request: Request) -> Made:
    from vst_vla.policies.server_policy import ServerPolicy

    if not request.address:
        raise ValueError("give address=ws://HOST:PORT, where the policy server listens")
    policy = ServerPolicy(request.address, **_without_name(request.options))
    return Made(policy=policy, chunk=policy.chunk, checkpoint=policy.checkpoint)


def _lerobot(request: Request) -> Made:
    from vst_vla.policies.lerobot_policy import LeRobotPolicy

    if not request.checkpoint:
        raise ValueError("give checkpoint=DIR, a policy folder of LeRobot's (…/pretrained_model)")
    policy = LeRobotPolicy(request.checkpoint, image_size=request.image_size, **_without_name(request.options))
    return Made(policy=policy, chunk=policy.chunk, checkpoint=policy.checkpoint)


def _replay(request: Request) -> Made:
    from vst_vla.policies.replay_policy import ReplayPolicy

    if not request.data:
        raise ValueError("give data=DIR, a data set that `vst-vla demos` made")
    policy = ReplayPolicy(request.data, suite=request.suite, **_without_name(request.options))
    return Made(policy=policy, chunk=policy.chunk, checkpoint=policy.checkpoint, episodes=policy.episodes)


def _without_name(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "name"}


MAKERS: dict[str, Callable[[Request], Made]] = {
    "vla": _vla,
    "shuffled": _shuffled,
    "random": _random,
    "zero": _zero,
    "expert": _expert,
    "server": _server,
    "lerobot": _lerobot,
    "replay": _replay,
}
