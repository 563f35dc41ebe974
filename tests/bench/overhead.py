"""Round trips of two 224-pixel pictures to the package's server and to openpi's loop, side by side.

    python tests/bench/overhead.py --client-python OPENPI_VENV/bin/python

The client is openpi-client's own, unmodified, in its own virtual environment, and openpi's loop has its codec; both
servers run with an instantaneous policy in processes of their own, and are asked in turns, so that whatever else the
machine does falls on both alike.
Writes docs/results/serve_overhead.json.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from vst_vla.vla.files import write_json

WHERE = "import openpi_client, os; print(os.path.dirname(openpi_client.__file__))"
CLIENT = """
import json, sys, time
import numpy as np
from openpi_client.websocket_client_policy import WebsocketClientPolicy

ports, rounds, block, warm = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
picture = lambda: rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
request = {"observation/image": picture(), "observation/wrist_image": picture(),
           "observation/state": np.zeros(8, np.float32), "prompt": "pick up the soup"}
clients = [WebsocketClientPolicy("127.0.0.1", port) for port in ports]
times = [[] for _ in ports]
for _ in range(rounds):
    for client, row in zip(clients, times):
        for number in range(warm + block):
            start = time.perf_counter()
            client.infer(request)
            if number >= warm:
                row.append((time.perf_counter() - start) * 1e3)
print(json.dumps(times))
"""


def main() -> None:
    """Measures and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--client-python", required=True, help="a Python that has openpi-client")
    parser.add_argument("--repeats", type=int, default=9, help="measurements, of which the record keeps all")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--block", type=int, default=50, help="timed requests to one server in a row")
    parser.add_argument("--out", default="docs/results/serve_overhead.json")
    arguments = parser.parse_args()
    ports, codec = [free_port(), free_port()], tempfile.TemporaryDirectory()
    package = subprocess.check_output([arguments.client_python, "-c", WHERE], text=True).strip()
    # The package alone: what else its environment holds is of another Python.
    Path(codec.name, "openpi_client").symlink_to(package)
    servers = [server("vst-vla", ports[0]), server("reference", ports[1], codec=codec.name)]
    try:
        for port in ports:
            wait_for(port)
        settings = json.dumps([ports, arguments.rounds, arguments.block, 10])
        runs = [measure(arguments.client_python, settings) for _ in range(arguments.repeats)]
    finally:
        for process in servers:
            process.kill()
        codec.cleanup()
    write_json(Path(arguments.out), record(runs))
    print(Path(arguments.out).read_text())


def server(kind: str, port: int, *, codec: str | None = None) -> subprocess.Popen[bytes]:
    """One of the servers of scripts/bench_rows/instant.py."""
    command = [sys.executable, "-m", "vst_vla.scripts.bench_rows.instant", kind, str(port)]
    if codec is None:
        return subprocess.Popen(command)
    return subprocess.Popen([*command, "--openpi-client"], env={**os.environ, "PYTHONPATH": codec})


def measure(client_python: str, settings: str) -> dict[str, object]:
    """One run of the client against both servers."""
    done = subprocess.run([client_python, "-c", CLIENT, settings], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"the client failed: {done.stderr.strip().splitlines()[-1]}")
    ours, reference = (summary(times) for times in json.loads(done.stdout))
    return {
        "vst_vla": ours,
        "openpi_loop": reference,
        "median_ratio": round(ours["median"] / reference["median"], 3),
        "p99_ratio": round(ours["p99"] / reference["p99"], 3),
        "load_1_min": round(os.getloadavg()[0], 2),
    }


def record(runs: list[dict[str, object]]) -> dict[str, object]:
    """All runs, and the middle one of each ratio."""
    return {
        "command": "python tests/bench/overhead.py --client-python OPENPI_VENV/bin/python",
        "what": "round trip of openpi-client in ms: two pictures of 224 px, state, prompt; loopback; instant policy",
        "cores": os.cpu_count(),
        "median_ratio": float(np.median([run["median_ratio"] for run in runs])),
        "p99_ratio": float(np.median([run["p99_ratio"] for run in runs])),
        "runs": runs,
    }


def summary(times: list[float]) -> dict[str, float]:
    """Median, 99th percentile, least, and how many."""
    low, median, high = np.percentile(times, [0, 50, 99])
    return {"median": round(median, 4), "p99": round(high, 4), "min": round(low, 4), "requests": len(times)}


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def wait_for(port: int) -> None:
    """Returns when something listens there."""
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    sys.exit(f"nothing listens on port {port}")


if __name__ == "__main__":
    main()
