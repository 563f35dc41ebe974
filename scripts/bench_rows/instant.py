"""Servers whose policy takes no time, so that a measurement is of everything else. One a process:

    python -m vst_vla.scripts.bench_rows.instant vst-vla PORT      the package's server, with no limit on the rate
    python -m vst_vla.scripts.bench_rows.instant reference PORT    the loop of openpi's own: inference in the handler

The reference is written after the published description of openpi's protocol; its codec is openpi-client's when that is
installed (`--openpi-client`), else the package's, whose bytes are the same.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from vst_vla.policies import wire
from vst_vla.policies.server import PolicyServer, ServerSettings
from vst_vla.policies.server_limits import ServerLimits
from vst_vla.vla.contracts import LIBERO_ACTION, LIBERO_STATE, ActionSpec, Array, Observation, StateSpec


class InstantPolicy:
    """The same chunk of ten actions every time."""

    action_spec: ActionSpec = LIBERO_ACTION
    state_spec: StateSpec = LIBERO_STATE
    chunk = 10

    def __init__(self) -> None:
        self._actions = np.zeros((self.chunk, 7), np.float32)

    def infer(self, observation: Observation) -> dict[str, Array]:
        """{"actions": (C, 7)}."""
        return {"actions": self._actions}

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """`infer` on each."""
        return [self.infer(observation) for observation in observations]

    def reset(self) -> None:
        """Stateless."""


def serve_ours(port: int, *, max_message_mib: float) -> None:
    """The package's server."""
    limits = ServerLimits(max_rate=1e9, burst=10**9, max_message_mib=max_message_mib)
    PolicyServer(InstantPolicy(), settings=ServerSettings(port=port, limits=limits)).run()


async def serve_reference(port: int, *, codec: Any) -> None:
    """One coroutine a connection that decodes, infers and encodes on the event loop."""
    policy = InstantPolicy()

    async def handle(connection: ServerConnection) -> None:
        packer = codec.Packer()
        await connection.send(packer.pack({}))
        previous = None
        while True:
            try:
                start = time.monotonic()
                observation = codec.unpackb(await connection.recv())
                before = time.monotonic()
                reply: dict[str, Any] = dict(policy.infer(observation))
                reply["server_timing"] = {"infer_ms": (time.monotonic() - before) * 1e3}
                if previous is not None:
                    reply["server_timing"]["prev_total_ms"] = previous * 1e3
                await connection.send(packer.pack(reply))
                previous = time.monotonic() - start
            except ConnectionClosed:
                return

    async with serve(handle, "127.0.0.1", port, compression=None, max_size=None):
        await asyncio.Future()


class OwnCodec:
    """The package's codec under the names that openpi-client's module has."""

    unpackb = staticmethod(wire.unpack)

    class Packer:
        """A packer that keeps nothing."""

        pack = staticmethod(wire.pack)


def main() -> None:
    """Serves until it is killed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kind", choices=("vst-vla", "reference"))
    parser.add_argument("port", type=int)
    parser.add_argument("--max-message-mib", type=float, default=16.0)
    parser.add_argument("--openpi-client", action="store_true", help="use its codec in the reference")
    arguments = parser.parse_args()
    if arguments.kind == "vst-vla":
        serve_ours(arguments.port, max_message_mib=arguments.max_message_mib)
        return
    codec: Any = importlib.import_module("openpi_client.msgpack_numpy") if arguments.openpi_client else OwnCodec
    asyncio.run(serve_reference(arguments.port, codec=codec))


if __name__ == "__main__":
    main()
