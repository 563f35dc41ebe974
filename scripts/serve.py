"""`vst-vla serve`: a checkpoint behind openpi's websocket protocol, or behind LeRobot's gRPC one."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING, Any

from vst_vla.policies.catalogue import make_policy
from vst_vla.policies.server import PolicyServer, ServerSettings
from vst_vla.policies.server_limits import LOOPBACK, ServerLimits
from vst_vla.policies.server_request import PolicyNeeds
from vst_vla.scripts.config import compose
from vst_vla.scripts.rollout import request
from vst_vla.vla.contracts import Policy, unknown_name

if TYPE_CHECKING:
    from vst_vla.policies.grpc_server import GrpcPolicyServer

API_KEY_VARIABLE = "VST_VLA_API_KEY"
PROTOCOLS = ("openpi", "lerobot")

Config = dict[str, Any]


def main(argv: list[str]) -> int:
    """Serves until it is told to stop."""
    config = compose("serve", argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    make_server(config).run()
    return 0


def make_server(config: Config) -> PolicyServer | GrpcPolicyServer:
    """The server that a configuration describes. Raises ValueError for an unusable one."""
    if config["protocol"] not in PROTOCOLS:
        raise unknown_name("protocol", str(config["protocol"]), PROTOCOLS)
    return _lerobot(config) if config["protocol"] == "lerobot" else _openpi(config)


def _openpi(config: Config) -> PolicyServer:
    settings = server_settings(config)
    if settings.host not in LOOPBACK and settings.api_key is None:
        print(f"anyone who reaches {settings.host}:{settings.port} can ask: set {API_KEY_VARIABLE}", file=sys.stderr)
    return PolicyServer(_policy(config), settings=settings)


def _lerobot(config: Config) -> GrpcPolicyServer:
    try:
        from vst_vla.policies.grpc_server import GrpcPolicyServer, GrpcSettings
    except ImportError as error:
        raise ValueError(f"protocol=lerobot needs grpcio ({error}): pip install 'vst-vla[grpc]'") from error
    if config["ensemble"]["decay"] is not None:
        raise ValueError("ensemble.decay is for protocol=openpi: LeRobot's client averages itself (aggregate_fn_name)")
    settings = GrpcSettings(
        host=config["host"],
        port=config["port"],
        grace_s=config["grace_s"],
        limits=ServerLimits(**config["limits"]),
        **(config["lerobot"] | {"cameras": config["lerobot"]["cameras"] or {}}),
    )
    _check_without_key(settings.host, settings.port)
    return GrpcPolicyServer(_policy(config), settings=settings)


def _policy(config: Config) -> Policy:
    """Raises ValueError for a policy that needs to know the episode, or sits in the evaluator's own workers."""
    policy = make_policy(request(config)).policy
    knows = getattr(policy, "reads_moment", False) and not PolicyNeeds.of(policy).history  # a server has the pictures
    if knows or hasattr(policy, "insider"):
        raise ValueError(f"policy={config['policy']['name']} acts in `vst-vla rollout` only: serve a checkpoint")
    return policy


def _check_without_key(host: str, port: int) -> None:
    """LeRobot's clients cannot send a key."""
    if os.environ.get(API_KEY_VARIABLE):
        raise ValueError(f"LeRobot's clients cannot send a key: unset {API_KEY_VARIABLE}, or use protocol=openpi")
    if host not in LOOPBACK:
        warning = "LeRobot's protocol has no key: use host=127.0.0.1 and an SSH tunnel"
        print(f"anyone who reaches {host}:{port} can ask, {warning}", file=sys.stderr)


def server_settings(config: Config) -> ServerSettings:
    """The settings in a configuration, with the API key of the environment. Raises ValueError for unusable ones."""
    return ServerSettings(
        host=config["host"],
        port=config["port"],
        api_key=os.environ.get(API_KEY_VARIABLE),
        ensemble_decay=config["ensemble"]["decay"],
        ensemble_every=config["ensemble"]["every"],
        grace_s=config["grace_s"],
        limits=ServerLimits(**config["limits"]),
    )
