"""LeRobot's own programs with the plug-in and the gRPC server, as a user runs them: what they did, as a record.

    vst-vla demos out=outputs/demos suite=libero_object task_ids=[0] num_episodes=2 image_size=128
    python tests/bench/lerobot_programs.py --data outputs/demos --checkpoint outputs/quickstart/policy/model \
        --out docs/results/lerobot_plugin.json

`lerobot-train` makes 20 steps of a policy from random weights and resumes to 40; `lerobot-eval` runs one LIBERO episode
of the checkpoint, converted to LeRobot's form; LeRobot's robot client drives a LIBERO arm for one with the same
checkpoint behind `vst-vla serve protocol=lerobot`. The programs run in a folder of their own; hf-libero finds the
assets that this machine has in a home of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from vst_vla.envs.assets import find_assets
from vst_vla.envs.quiet import write_libero_config
from vst_vla.policies.vla_policy import checkpoint_hash
from vst_vla.vla.files import write_json

ARM = Path(__file__).resolve().parents[1] / "policies" / "lerobot_arm.py"
PLUGIN = "--policy.discover_packages_path=vst_vla.policies.lerobot"
TRAIN = (
    *("-m", "lerobot.scripts.lerobot_train", PLUGIN, "--policy.type=vst_vla", "--policy.device=cpu"),
    *("--policy.push_to_hub=false", "--policy.optimizer_lr=8e-4", "--policy.warmup_steps=2"),
    *("--dataset.repo_id=me/demos", "--dataset.root=demos", "--num_workers=0", "--batch_size=8", "--steps=20"),
    *("--log_freq=5", "--save_freq=20", "--env_eval_freq=0", "--output_dir=run"),
)
SAVED = "run/checkpoints/last/pretrained_model"
RESUME = (
    *("-m", "lerobot.scripts.lerobot_train", PLUGIN, f"--config_path={SAVED}/train_config.json"),
    *("--resume=true", "--steps=40"),
)
CONVERT = ("-m", "vst_vla.scripts.lerobot_convert", "checkpoint=model", "out=for_lerobot")
EVAL = (
    *("-m", "lerobot.scripts.lerobot_eval", PLUGIN, "--policy.path=for_lerobot", "--policy.device=cpu"),
    *("--policy.n_action_steps=4", "--env.type=libero", "--env.task=libero_object", "--env.task_ids=[0]"),
    *("--env.observation_height=128", "--env.observation_width=128"),
    *("--eval.n_episodes=1", "--eval.batch_size=1", "--output_dir=eval"),
)
SERVE = (
    *("-m", "vst_vla.scripts.cli", "serve", "checkpoint=model", "protocol=lerobot", "port=0"),
    "lerobot.cameras={image: front, image2: wrist}",
)
CLIENT = (
    *(str(ARM), "--robot.type=libero_arm", "--robot.report=client.json", "--robot.size=128", "--robot.steps=280"),
    *("--task=pick up the alphabet soup and place it in the basket", "--policy_type=vst_vla", "--fps=20"),
    *("--pretrained_name_or_path=served", "--actions_per_chunk=4", "--chunk_size_threshold=0"),
    "--aggregate_fn_name=latest_only",
)
INTERRUPTED = (1, 130, -2)
"""How a Python program ends that was stopped with Ctrl-C, as the arm does it after its episode."""


def run(arguments: tuple[str, ...], folder: Path, *, codes: tuple[int, ...] = (0,)) -> tuple[float, str]:
    """Seconds that a program took, and what it said. `codes` are the exit codes that it may end with."""
    start = time.monotonic()
    command = [sys.executable, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    said = done.stdout + done.stderr
    if done.returncode not in codes:
        raise RuntimeError(f"{spoken(arguments)} failed:\n{said[-4000:]}")
    return round(time.monotonic() - start, 1), said


def environment(folder: Path) -> dict[str, str]:
    """Offline, with hf-libero's settings in the folder."""
    mine = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "HF_LEROBOT_HOME": str(folder / "lerobot")}
    return os.environ | mine | {"HOME": str(folder), "LIBERO_CONFIG_PATH": str(folder / ".libero"), "MUJOCO_GL": "egl"}


def home(folder: Path) -> Path:
    """The folder with hf-libero's settings and assets in it."""
    assets = find_assets("libero_object")
    (folder / ".cache" / "libero").mkdir(parents=True)
    (folder / ".cache" / "libero" / "assets").symlink_to(assets.path)
    os.environ["LIBERO_CONFIG_PATH"] = str(folder / ".libero")
    write_libero_config(assets.path)
    return folder


def spoken(arguments: tuple[str, ...]) -> str:
    """A command as a user would type it."""
    text = " ".join(f"'{part}'" if " " in part else part for part in arguments)
    text = text.replace("-m lerobot.scripts.lerobot_", "lerobot-").replace("-m vst_vla.scripts.cli", "vst-vla")
    return text.replace(str(ARM), "python tests/policies/lerobot_arm.py").replace("-m ", "python -m ")


def losses(said: str) -> dict[str, float]:
    """Step -> loss, out of LeRobot's log."""
    return {step: float(loss) for step, loss in re.findall(r"step:(\d+) .*?loss:([\d.]+)", said)}


def training(folder: Path) -> dict[str, Any]:
    """Twenty steps, then twenty more."""
    seconds, said = run(TRAIN, folder)
    first = checkpoint_hash(folder / SAVED / "vst_vla")
    again, resumed = run(RESUME, folder)
    return {
        "train": {"command": spoken(TRAIN), "seconds": seconds, "loss": losses(said), "checkpoint": first},
        "resume": {
            "command": spoken(RESUME),
            "seconds": again,
            "loss": losses(resumed),
            "checkpoint": checkpoint_hash(folder / SAVED / "vst_vla"),
        },
    }


def evaluation(folder: Path) -> dict[str, Any]:
    """One episode of the converted checkpoint in LeRobot's own LIBERO environment."""
    run(CONVERT, folder)
    seconds, _ = run(EVAL, folder)
    overall = json.loads((folder / "eval" / "eval_info.json").read_text())["overall"]
    result = {key: overall[key] for key in ("n_episodes", "pc_success", "eval_s")}
    return {"eval": {"commands": [spoken(CONVERT), spoken(EVAL)], "seconds": seconds, **result}}


def robot_client(folder: Path) -> dict[str, Any]:
    """One episode of LeRobot's robot client against the gRPC server."""
    server = subprocess.Popen([sys.executable, *SERVE], cwd=folder, stdout=subprocess.PIPE, text=True)
    try:
        port = re.search(r":(\d+) ", server.stdout.readline()).group(1)
        seconds, _ = run((*CLIENT, f"--server_address=127.0.0.1:{port}"), folder, codes=INTERRUPTED)
    finally:
        server.terminate()
        server.wait(timeout=30)
        server.stdout.close()
    report = json.loads((folder / "client.json").read_text())
    result = {key: report[key] for key in ("steps", "looks", "success")}
    return {"robot_client": {"commands": [spoken(SERVE), spoken(CLIENT)], "seconds": seconds, **result}}


def main() -> None:
    """Runs the programs and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("docs/results/lerobot_plugin.json"))
    arguments = parser.parse_args()
    record: dict[str, Any] = {"cores": os.cpu_count(), "assets": find_assets("libero_object").kind}
    with tempfile.TemporaryDirectory() as made:
        folder = home(Path(made))
        (folder / "demos").symlink_to(arguments.data.resolve())
        (folder / "model").symlink_to(arguments.checkpoint.resolve())
        for part in (training, evaluation, robot_client):
            record |= part(folder)
            write_json(arguments.out, record | {"load_1_min": round(os.getloadavg()[0], 2)})
            print(json.dumps(record, indent=1), flush=True)


if __name__ == "__main__":
    main()
