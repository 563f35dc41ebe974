"""`python -m vst_vla.scripts.wire_robot`: a LIBERO task as an arm behind a websocket."""

from __future__ import annotations

import signal
import sys

from vst_vla.policies.wire_robot import WireRobot
from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status


def main(argv: list[str]) -> int:
    """Runs the arm until it is told to stop."""
    config = compose("wire_robot", argv)
    settings = {key: config[key] for key in ("task_id", "image_size", "images", "speed")}
    robot = WireRobot(config["suite"], **settings)
    port = robot.listen(host=config["host"], port=config["port"])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: robot.stop())
    print(f"robot at ws://{config['host']}:{port}", flush=True)
    robot.run()
    return 0


if __name__ == "__main__":
    sys.exit(exit_status("wire_robot", lambda: main(sys.argv[1:])))
