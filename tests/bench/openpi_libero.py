"""LIBERO episodes by openpi-client, unmodified, in its own virtual environment (it needs numpy below 2).

    vst-vla serve checkpoint=P/model
    python -m vst_vla.scripts.wire_robot image_size=128 speed=null
    OPENPI_VENV/bin/python tests/bench/openpi_libero.py --replan 4 --expected P/roll/records.jsonl --out FILE

Nothing of this project is imported: the policy is asked through openpi_client.websocket_client_policy, and the arm, the
simulator in another process, through a plain websocket with openpi-client's own codec. With `--expected`, the
records of the same episodes in one process stand beside these. Episodes that `--out` already holds are not run again.
"""

import argparse
import json
from pathlib import Path

import websockets.sync.client
from openpi_client import msgpack_numpy
from openpi_client.websocket_client_policy import WebsocketClientPolicy


def main() -> None:
    """Runs the episodes; writes the record after each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server-port", type=int, default=8000)
    parser.add_argument("--robot-port", type=int, default=8001)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--replan", type=int, default=4)
    parser.add_argument("--expected", help="records.jsonl of the same episodes by `vst-vla rollout`")
    parser.add_argument("--out", required=True)
    arguments = parser.parse_args()
    policy = WebsocketClientPolicy("127.0.0.1", arguments.server_port)
    uri = f"ws://127.0.0.1:{arguments.robot_port}"
    out = Path(arguments.out)
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    with websockets.sync.client.connect(uri, compression=None, max_size=None) as robot:
        for index in range(len(rows), arguments.episodes):
            rows.append({"init_state": index, **episode(robot, policy, index, replan=arguments.replan)})
            print(rows[-1], flush=True)
            write(out, rows, policy.get_server_metadata(), arguments)


def episode(robot, policy: WebsocketClientPolicy, index: int, *, replan: int) -> dict:
    """One episode as openpi's LIBERO example runs it: the first actions of every chunk, then a new observation."""
    status, requests = ask(robot, {"reset": index}), 0
    while not status["done"]:
        requests += 1
        for action in policy.infer(ask(robot, {"observe": True}))["actions"][:replan]:
            status = ask(robot, {"action": action})
            if status["done"]:
                break
    return {"success": bool(status["success"]), "num_steps": int(status["tick"]), "requests": requests}


def ask(robot, message: dict) -> dict:
    """One message to the arm and its reply."""
    robot.send(msgpack_numpy.packb(message))
    return msgpack_numpy.unpackb(robot.recv())


def write(out: Path, rows: list, metadata: dict, arguments: argparse.Namespace) -> None:
    """The record of the episodes so far."""
    content = {
        "command": "OPENPI_VENV/bin/python tests/bench/openpi_libero.py --replan 4 --expected … --out …",
        "server": {key: metadata[key] for key in ("server", "version", "checkpoint")},
        "successes": sum(row["success"] for row in rows),
        "episodes": len(rows),
        "rows": rows,
    }
    if arguments.expected:
        lines = [json.loads(line) for line in Path(arguments.expected).read_text().splitlines()]
        expected = {line["init_state"]: line for line in lines}
        pairs = [(row, expected[row["init_state"]]) for row in rows]
        content["in_process"] = {
            "checkpoint": lines[0]["checkpoint"],
            "successes": sum(one["success"] for _, one in pairs),
            "same_outcome": sum(row["success"] == one["success"] for row, one in pairs),
            "same_number_of_steps": sum(row["num_steps"] == one["num_steps"] for row, one in pairs),
        }
    out.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
