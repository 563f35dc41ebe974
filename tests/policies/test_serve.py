"""`vst-vla serve` as a user runs it: a checkpoint from the command line, mistakes in one line, a clean end."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vst_vla.policies.client import PolicyClient, PolicyRefused
from vst_vla.policies.vla_policy import VLAPolicy
from vst_vla.scripts.cli import main
from vst_vla.scripts.config import compose
from vst_vla.scripts.serve import server_settings
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEY, LIBERO_STATE, STATE_KEY, TASK_KEY, WRIST_IMAGE_KEY
from vst_vla.vla.model import VLAModel
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.spec import ModelSpec


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def feature(dim: int) -> FeatureStats:
        low, high = (-0.5,) * dim, (0.5,) * dim
        return FeatureStats(mean=(0.0,) * dim, std=high, min=low, max=high, q01=low, q99=high)

    torch.manual_seed(0)
    stats = NormStats({ACTION_KEY: feature(7), STATE_KEY: feature(8)})
    folder = tmp_path_factory.mktemp("serve") / "model"
    VLAModel(load_backbone("tiny"), spec=ModelSpec(), norm_stats=stats).save(folder)
    return folder


def test_a_checkpoint_is_served_as_it_acts_here(checkpoint: Path, request_of) -> None:
    """With openpi's keys and pictures of two sizes, the actions are those of the policy in this process."""
    command = [sys.executable, "-m", "vst_vla.scripts.cli", "serve", f"checkpoint={checkpoint}", "port=0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = server.stdout.readline()
        assert line.startswith("serving on ws://127.0.0.1:")
        with PolicyClient(line.split()[2], timeout_s=60) as client:
            policy = VLAPolicy(checkpoint, device="cpu")
            assert (client.metadata["checkpoint"], client.state_spec) == (policy.checkpoint, LIBERO_STATE)
            for size in (224, 128):
                message = request_of(5, size=size)
                here = {
                    IMAGE_KEY: message["observation/image"],
                    WRIST_IMAGE_KEY: message["observation/wrist_image"],
                    STATE_KEY: message["observation/state"],
                    TASK_KEY: message["prompt"],
                }
                there = client.infer(message)["actions"]
                assert np.allclose(there, policy.infer(here)["actions"], atol=1e-5)
            with pytest.raises(PolicyRefused, match="has 7 numbers, expected 8: x, y, z, rx"):
                client.infer(request_of(**{"observation/state": np.zeros(7)}))
            server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
    finally:
        server.kill()
        server.stdout.close()
        server.stderr.close()


def test_mistakes_are_one_line_and_nothing_listens(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (tmp_path / "empty").mkdir()
        for arguments, expected in (
            ([], "give checkpoint=DIR"),
            (["checkpoint=nowhere"], "no checkpoint folder at 'nowhere'"),
            ([f"checkpoint={tmp_path / 'empty'}"], "has no action head"),
            (["policy=zero", f"port={port}"], f"port {port} on 127.0.0.1 cannot be opened"),
            (["policy=zero", "port=-1"], "port is -1, expected 0 to 65535"),
            (["policy=zero", "limits.max_batch=0"], "max_batch is 0, expected at least 1"),
            (["policy=zero", "ensemble.decay=-1", "port=0"], "decay is -1"),
            (["policy=zero", "limits.max_conections=3"], "did you mean 'limits.max_connections'?"),
        ):
            assert main(["serve", *arguments]) == 2
            captured = capsys.readouterr()
            assert expected in captured.err
            assert len(captured.err.strip().splitlines()) == 1
            assert "serving on" not in captured.out


def test_the_key_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    config = compose("serve", ["policy=zero"])
    monkeypatch.delenv("VST_VLA_API_KEY", raising=False)
    assert server_settings(config).api_key is None
    monkeypatch.setenv("VST_VLA_API_KEY", "geheim")
    assert server_settings(config).api_key == "geheim"
    monkeypatch.setenv("VST_VLA_API_KEY", " ")
    with pytest.raises(ValueError, match="the API key is empty"):
        server_settings(config)
