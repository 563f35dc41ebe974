"""Many clients at once for a while: errors, latencies of each, the server's memory.

    python tests/bench/soak.py --clients 32 --seconds 600 --out docs/results/serve_soak.json

The policy is instantaneous; every client sends two pictures of 128 pixels at 5 Hz, at times of its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from vst_vla.policies.client import PolicyClient
from vst_vla.vla.files import write_json

HZ = 5.0
SETTLE = 0.15
"""Share of the time after which memory is first read: buffers have grown to their size by then."""


def soak(*, clients: int, seconds: float) -> dict[str, Any]:
    """The record of one run against a server in a process of its own."""
    command = [sys.executable, "-m", "vst_vla.scripts.bench_rows.instant", "vst-vla", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        port = int(server.stdout.readline().split("ws://127.0.0.1:")[1].split()[0])
        return _run(port, psutil.Process(server.pid), clients=clients, seconds=seconds)
    finally:
        server.kill()
        server.stdout.close()


def _run(port: int, process: psutil.Process, *, clients: int, seconds: float) -> dict[str, Any]:
    latencies: list[list[float]] = [[] for _ in range(clients)]
    errors: list[str] = []
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_ask, args=(port, number, end, latencies[number], errors)) for number in range(clients)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds * SETTLE)
    before = process.memory_info().rss
    for thread in threads:
        thread.join()
    growth = process.memory_info().rss / before - 1
    medians = [float(np.median(row)) for row in latencies if row]
    return {
        "clients": clients,
        "seconds": seconds,
        "requests": sum(map(len, latencies)),
        "fewest_requests_of_a_client": min(map(len, latencies)),
        "errors": errors,
        "memory_growth": round(growth, 4),
        "latency_ms": {
            "median": round(float(np.median(np.concatenate(latencies))), 3),
            "p99": round(float(np.percentile(np.concatenate(latencies), 99)), 3),
            "median_of_the_fastest_client": round(min(medians), 3),
            "median_of_the_slowest_client": round(max(medians), 3),
        },
    }


def _ask(port: int, number: int, end: float, latencies: list[float], errors: list[str]) -> None:
    """One client: asks at its own times, checks that the reply is to its own question, keeps the latency."""
    rng = np.random.default_rng(number)
    pictures = ("observation/image", "observation/wrist_image")
    request: dict[str, Any] = {key: rng.integers(0, 256, (128, 128, 3), dtype=np.uint8) for key in pictures}
    request |= {"observation/state": rng.normal(size=8), "prompt": "pick up the soup"}
    step = 0
    with PolicyClient(f"ws://127.0.0.1:{port}", timeout_s=30, connect_timeout_s=30) as client:
        while time.monotonic() < end:
            start, step = time.perf_counter(), step + 1
            try:
                reply = client.infer({**request, "step": number * 10**6 + step})
            except (ConnectionError, ValueError) as error:
                errors.append(str(error))
                continue
            latencies.append((time.perf_counter() - start) * 1e3)
            if reply["step"] != number * 10**6 + step:
                errors.append(f"client {number} got the reply to another question")
            time.sleep(rng.uniform(0.5, 1.5) / HZ)


def main() -> None:
    """Runs and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--out", default="docs/results/serve_soak.json")
    arguments = parser.parse_args()
    command = f"python tests/bench/soak.py --clients {arguments.clients} --seconds {arguments.seconds:g}"
    record = {"command": command, "cores": os.cpu_count(), "load_1_min": round(os.getloadavg()[0], 2)}
    record |= soak(clients=arguments.clients, seconds=arguments.seconds)
    write_json(Path(arguments.out), record)
    print(record)


if __name__ == "__main__":
    main()
