"""The row of the policy server: round trips over loopback, beside the loop of openpi's own, both with instant policies.

One client of this package asks both servers in turns; each is a process of its own (`instant`).
"""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import numpy as np

from vst_vla.policies.client import PolicyClient
from vst_vla.scripts.bench_rows.acting import Row
from vst_vla.scripts.bench_rows.machine import Machine
from vst_vla.scripts.bench_rows.timing import in_turns, milliseconds, times_faster

OURS, REFERENCE = "vst-vla", "reference"
SIDE = 224
PATIENCE_S = 120
"""For a server to import what it needs."""


def server_row(machine: Machine, repeats: int) -> Row:
    """Milliseconds from an observation to actions, both in the client: two pictures of 224 px, state, prompt."""
    rng = np.random.default_rng(0)
    keys = ("observation/image", "observation/wrist_image")
    request: dict[str, Any] = {key: rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8) for key in keys}
    request |= {"observation/state": np.zeros(8, np.float32), "prompt": "pick up the soup"}
    with ExitStack() as stack:
        clients = {name: stack.enter_context(_served(name)) for name in (OURS, REFERENCE)}
        seconds = in_turns(
            {name: partial(client.infer, request) for name, client in clients.items()}, repeats=5 * repeats
        )
    other = milliseconds(seconds[REFERENCE]) | {"times": times_faster(seconds, than=REFERENCE, ours=OURS)}
    return milliseconds(seconds[OURS]) | {"beside": {"openpi's loop": other}, "picture": SIDE}


@contextmanager
def _served(kind: str) -> Iterator[PolicyClient]:
    """A client of a server that lives as long."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = int(taken.getsockname()[1])
    command = [sys.executable, "-m", "vst_vla.scripts.bench_rows.instant", kind, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        with PolicyClient(f"ws://127.0.0.1:{port}", timeout_s=PATIENCE_S) as client:
            client.wait_until_ready(PATIENCE_S)
            yield client
    finally:
        process.kill()
        process.wait()
