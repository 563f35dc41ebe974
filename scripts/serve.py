"""`vst-vla serve`: a checkpoint behind openpi's websocket protocol."""

from __future__ import annotations

import logging
import os
import sys
from typing import Any

from vst_vla.policies.server import PolicyServer, ServerSettings
from vst_vla.policies.server_limits import LOOPBACK, ServerLimits
from vst_vla.scripts.config import compose
from vst_vla.scripts.rollout import make_policy

API_KEY_VARIABLE = "VST_VLA_API_KEY"


def main(argv: list[str]) -> int:
    """Serves until it is told to stop."""
    config = compose("serve", argv)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    settings = server_settings(config)
    if settings.host not in LOOPBACK and settings.api_key is None:
        print(f"anyone who reaches {settings.host}:{settings.port} can ask: set {API_KEY_VARIABLE}", file=sys.stderr)
    policy, _, _ = make_policy(config)
    PolicyServer(policy, settings=settings).run()
    return 0


def server_settings(config: dict[str, Any]) -> ServerSettings:
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
