"""LeRobot's own robot client, as it is, against the gRPC server: an episode in LIBERO."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from vst_vla.policies.baselines import RandomPolicy
from vst_vla.policies.grpc_server import GrpcPolicyServer, GrpcSettings
from vst_vla.vla.contracts import IMAGE_KEY, LIBERO_STATE, STATE_KEY, TASK_KEY, WRIST_IMAGE_KEY, Array, Observation

pytestmark = pytest.mark.sim
ARM = Path(__file__).with_name("lerobot_arm.py")
TASK = "pick up the alphabet soup and place it in the basket"


class Recorded(RandomPolicy):
    """Random actions; keeps what it saw and said. It looks at two cameras and a state, as a trained policy does."""

    state_spec = LIBERO_STATE

    def __init__(self) -> None:
        super().__init__(seed=0, chunk=8)
        self.seen: list[Observation] = []
        self.said: list[Array] = []

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        replies = super().infer_batch(observations)
        self.seen += observations
        self.said += [reply["actions"] for reply in replies]
        return replies


def drive(port: int, out: Path, *options: str) -> dict:
    command = [
        *(sys.executable, str(ARM), "--robot.type=libero_arm", f"--robot.report={out / 'report.json'}"),
        *(f"--server_address=127.0.0.1:{port}", f"--task={TASK}", "--fps=20", "--aggregate_fn_name=latest_only"),
        *("--policy_type=vst_vla", "--pretrained_name_or_path=served", *options),
    ]
    home = {"HF_LEROBOT_HOME": str(out / "home")}
    done = subprocess.run(command, cwd=out, env=os.environ | home, timeout=600, capture_output=True, text=True)
    assert (out / "report.json").is_file(), done.stderr[-3000:]
    return json.loads((out / "report.json").read_text())


@pytest.mark.slow
@pytest.mark.alone
def test_an_episode_with_lerobots_client(tmp_path: Path) -> None:
    """Every action of every chunk is executed once and in its order; the policy sees the robot's cameras and state."""
    policy = Recorded()
    server = GrpcPolicyServer(policy, settings=GrpcSettings(port=0, cameras={"image": "front", "image2": "wrist"}))
    ready: Future[int] = Future()
    stop = Event()
    thread = Thread(target=lambda: server.serve(stop=stop, on_ready=ready.set_result))
    thread.start()
    try:
        port = ready.result(timeout=60)
        told = len(policy.said)  # warming up
        report = drive(port, tmp_path, "--actions_per_chunk=8", "--chunk_size_threshold=0", "--robot.steps=60")
    finally:
        stop.set()
        thread.join(timeout=30)
    assert (report["steps"], report["success"]) == (60, False)
    said = np.concatenate(policy.said[told:])
    np.testing.assert_allclose(np.array(report["actions"]), said[:60], atol=1e-6)
    assert report["looks"] >= 8
    first = policy.seen[told]
    assert first[TASK_KEY] == TASK
    assert first[IMAGE_KEY].shape == first[WRIST_IMAGE_KEY].shape == (64, 64, 3)
    assert first[IMAGE_KEY].std() > 5
    assert np.abs(first[IMAGE_KEY].astype(int) - first[WRIST_IMAGE_KEY].astype(int)).mean() > 5
    assert not np.array_equal(first[STATE_KEY], policy.seen[told + 1][STATE_KEY]), "the arm moved"
