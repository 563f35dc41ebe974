"""Malformed, truncated, oversized and mistyped messages, each of which a policy server must refuse with a reason.

    python tests/bench/fuzz.py --messages 10000 --out docs/results/serve_fuzz.json

A message that is still good after its change (a flipped bit in a picture, say) is answered and not counted. After every
hundredth refusal a good request must be answered.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import psutil
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from vst_vla.policies.wire import pack, unpack
from vst_vla.vla.files import write_json

PATIENCE_S = 60.0
LARGEST = 2**20
"""The server's limit in these tests, in bytes."""
ODD_VALUES: list[Any] = [
    None,
    True,
    -1,
    2**63,
    1e308,
    float("nan"),
    "",
    "text",
    b"bytes",
    [],
    [[1, 2], [3]],
    ["a"] * 8,
    {},
    {"nested": {"deeper": [1]}},
    np.zeros((0, 0, 3), np.uint8),
    np.zeros((5, 5), np.float64),
    np.zeros((64, 64, 3), np.int64),
    np.full((64, 64, 3), -1.0, np.float32),
    np.full(8, np.inf),
    np.zeros(9),
    np.array(["x"] * 8),
    np.float32("nan"),
]
BAD_FRAMES = [
    b"\x82\x05hello",  # not masked
    b"\xf2\x80\0\0\0\0",  # reserved bits
    b"\x83\x80\0\0\0\0",  # unknown opcode
    b"\x80\x80\0\0\0\0",  # continues nothing
    b"\x81\x82\0\0\0\0\xff\xfe",  # text that is none
    b"\x89\xfe\x00\x7e\0\0\0\0" + bytes(126),  # a ping that is too long
    b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",  # eight exbibytes announced
    b"\x88\x81\0\0\0\0\x01",  # a closing code of one byte
]


def good(rng: np.random.Generator) -> dict[str, Any]:
    """A request that is answered."""
    pictures = ("observation/image", "observation/wrist_image")
    request: dict[str, Any] = {key: rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for key in pictures}
    return {**request, "observation/state": rng.uniform(-0.5, 0.5, 8).astype(np.float32), "prompt": "pick up the soup"}


def truncated(rng: np.random.Generator) -> bytes:
    """A good message that ends too early."""
    data = pack(good(rng))
    return data[: int(rng.integers(0, len(data)))]


def garbled(rng: np.random.Generator) -> bytes:
    """A good message with some bytes replaced, most of them near its beginning or end."""
    data = bytearray(pack(good(rng)))
    for _ in range(int(rng.integers(1, 9))):
        offset = int(rng.integers(0, 60))
        data[offset if rng.random() < 0.7 else len(data) - 1 - offset] = int(rng.integers(0, 256))
    return bytes(data)


def noise(rng: np.random.Generator) -> bytes:
    """Random bytes."""
    return rng.bytes(int(rng.integers(0, 2000)))


def oversized(rng: np.random.Generator) -> bytes:
    """More than the server takes."""
    return pack({"observation/image": np.zeros(LARGEST + int(rng.integers(0, LARGEST)), np.uint8)})


def mistyped(rng: np.random.Generator) -> bytes:
    """A good message with one value of another kind, or without it."""
    request = good(rng)
    key = str(rng.choice(list(request)))
    if rng.random() < 0.2:
        del request[key]
    else:
        request[key] = ODD_VALUES[int(rng.integers(len(ODD_VALUES)))]
    return pack(request)


def misdescribed(rng: np.random.Generator) -> bytes:
    """An array that is not what it says."""
    lies: dict[str, list[Any]] = {
        "shape": [[33, 32, 3], [-1, 32, 3], [2**62, 4], "big", [], [32, 32, 3, 0], [1.5], None],
        "dtype": ["|O", "<c16", "nonsense", "", 7, "<f8", "V3", "<U1", "f4,f4"],
        "data": [b"", "text", None, [0] * 100, b"\0"],
    }
    array: dict[str, Any] = {"__ndarray__": True, "data": bytes(3072), "dtype": "|u1", "shape": [32, 32, 3]}
    field = str(rng.choice(list(lies)))
    array[field] = lies[field][int(rng.integers(len(lies[field])))]
    if rng.random() < 0.2:
        del array[field]
    request = {key: value for key, value in good(rng).items() if not isinstance(value, np.ndarray)}
    return msgpack.packb({**request, "observation/image": array})


def monstrous(rng: np.random.Generator) -> bytes:
    """Lengths and depths that would take all memory if they were believed."""
    claim = int(rng.integers(2**16, 2**32)).to_bytes(4, "big")
    kind = bytes([int(rng.choice([0xDD, 0xDF, 0xC6, 0xDB, 0xC9]))])
    return [kind + claim, (b"\xdd" + claim) * 50, b"\x91" * 3000, b"\x81\xa1a" * 2000][int(rng.integers(4))]


def text(rng: np.random.Generator) -> str:
    """A text frame."""
    return "x" * int(rng.integers(0, 100))


MESSAGES: list[Callable[[np.random.Generator], str | bytes]] = [
    truncated,
    garbled,
    noise,
    mistyped,
    misdescribed,
    monstrous,
    text,
    oversized,
]


def fuzz(port: int, *, messages: int, seed: int) -> Counter[str]:
    """Sends until `messages` were refused; counts refusals by kind. Raises AssertionError for a lack of manners."""
    rng, refused = np.random.default_rng(seed), Counter[str]()
    while refused.total() < messages:
        kind = int(rng.integers(len(MESSAGES) + 1))
        if kind == len(MESSAGES):
            frame = BAD_FRAMES[int(rng.integers(len(BAD_FRAMES)))]
            refused["bad frame"] += send_frame(port, frame)
        else:
            refused[MESSAGES[kind].__name__] += send(port, MESSAGES[kind](rng))
        if refused.total() % 100 == 0:
            assert not send(port, pack(good(rng))), "a good request was refused"
    return refused


def send(port: int, message: str | bytes) -> bool:
    """Whether the message was refused, with a reason; it was answered otherwise."""
    with connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None, open_timeout=PATIENCE_S) as connection:
        connection.recv(timeout=PATIENCE_S)
        try:
            connection.send(message)
            reply = connection.recv(timeout=PATIENCE_S)
        except ConnectionClosed as closed:
            if closed.rcvd is None or not closed.rcvd.reason:
                raise AssertionError("cut off without a reason") from closed
            return True
    if isinstance(reply, bytes):
        assert unpack(reply)
        return False
    assert reply.strip()
    assert len(reply.splitlines()) == 1
    return True


def send_frame(port: int, frame: bytes) -> bool:
    """The same for bytes below the message: whether they were refused with a reason."""
    connection = connect(f"ws://127.0.0.1:{port}", compression=None, proxy=None, open_timeout=PATIENCE_S).__enter__()
    connection.recv(timeout=PATIENCE_S)
    connection.socket.sendall(frame)
    try:
        connection.recv(timeout=PATIENCE_S)
    except ConnectionClosed as closed:
        if closed.rcvd is None:
            raise AssertionError(f"cut off without a closing code: {frame!r}") from closed
        return True
    finally:
        connection.socket.close()
    return False


def main() -> None:
    """Starts a server, sends, and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="docs/results/serve_fuzz.json")
    arguments = parser.parse_args()
    command = [
        sys.executable,
        "-m",
        "vst_vla.scripts.bench_rows.instant",
        "vst-vla",
        "0",
        "--max-message-mib",
        str(LARGEST / 2**20),
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = int(server.stdout.readline().split("ws://127.0.0.1:")[1].split()[0])
        fuzz(port, messages=100, seed=arguments.seed + 1)
        before = psutil.Process(server.pid).memory_info().rss
        refused = fuzz(port, messages=arguments.messages, seed=arguments.seed)
        after = psutil.Process(server.pid).memory_info().rss
    finally:
        server.kill()
    record = {
        "command": f"python tests/bench/fuzz.py --messages {arguments.messages} --seed {arguments.seed}",
        "refused": refused.total(),
        "by_kind": dict(sorted(refused.items())),
        "server_memory_mib": {"before": round(before / 2**20, 1), "after": round(after / 2**20, 1)},
    }
    write_json(Path(arguments.out), record)
    print(record)


if __name__ == "__main__":
    main()
