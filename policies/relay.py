"""A slow network in one process: passes TCP bytes on with a delay, and cuts connections when told to."""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import threading
from concurrent.futures import Future

PIECE = 2**16
SAME_BURST_S = 0.005
"""Pieces that follow each other faster than this belong to one message and are delayed alike."""


class DelayRelay:
    """Listens on a free port of this machine and passes everything on to another, in order.

    The two ways together take `latency_s` on average, with a standard deviation of `jitter_s`.

    Args:
        host, port: where to pass the bytes on.
        latency_s: mean of the added round trip.
        jitter_s: its standard deviation, from normal distributions cut at zero.
        seed: of the jitter.

    Raises:
        ValueError: for negative times.
    """

    def __init__(self, host: str, port: int, *, latency_s: float, jitter_s: float = 0.0, seed: int = 0) -> None:
        if latency_s < 0 or jitter_s < 0:
            raise ValueError(f"latency is {latency_s} s and jitter {jitter_s} s, expected 0 or more")
        self._target, self._random = (host, port), random.Random(seed)
        self._latency_s, self._jitter_s = latency_s, jitter_s
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ready: Future[int] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="relay", daemon=True)
        self._thread.start()
        self.port = self._ready.result()

    def drop(self) -> None:
        """Cuts all connections; new ones are taken."""
        self._loop.call_soon_threadsafe(self._cut)

    def close(self) -> None:
        """Cuts all connections and stops listening."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0, limit=PIECE)
        self._ready.set_result(server.sockets[0].getsockname()[1])
        await self._stop.wait()
        server.close()
        self._cut()

    def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection(*self._target, limit=PIECE)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        for source, sink in ((reader, back), (there, writer)):
            for task in self._pass_on(source, sink):
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    def _pass_on(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> list[asyncio.Task[None]]:
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        return [asyncio.create_task(self._read(source, pieces)), asyncio.create_task(self._write(sink, pieces))]

    async def _read(self, source: asyncio.StreamReader, pieces: asyncio.Queue[tuple[float, bytes]]) -> None:
        """Stamps every piece with the time at which it may leave; the last one is empty."""
        last, delay, data = -1.0, 0.0, b"-"
        while data:
            with contextlib.suppress(ConnectionError):
                data = b""
                data = await source.read(PIECE)
            now = self._loop.time()
            if now - last > SAME_BURST_S:
                delay = self._draw()
            last = now
            pieces.put_nowait((now + delay, data))

    async def _write(self, sink: asyncio.StreamWriter, pieces: asyncio.Queue[tuple[float, bytes]]) -> None:
        while True:
            leave, data = await pieces.get()
            await asyncio.sleep(leave - self._loop.time())
            if not data or sink.transport.is_closing():
                break
            sink.write(data)
        self._writers.discard(sink)
        sink.close()

    def _draw(self) -> float:
        """One way's delay in s."""
        return max(0.0, self._random.gauss(self._latency_s / 2, self._jitter_s / math.sqrt(2)))
