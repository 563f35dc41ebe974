"""An ACT policy that stock `lerobot-train` made of our demonstrations, judged by `lerobot-eval` and by our evaluator.

    vst-vla demos out=outputs/demos suite=libero_object task_ids=[0] num_episodes=30 image_size=128
    python tests/bench/lerobot_act.py --data outputs/demos --out docs/results/lerobot_act.json

Both play the same initial states with LeRobot's protocol, with pictures of the demonstrations' size. ACT is smaller
than LeRobot's default and starts from random weights, for two CPU cores. `--run RUN` judges a training that is there.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

from lerobot_programs import home, run, spoken

from vst_vla.envs.assets import find_assets
from vst_vla.envs.statistics import mcnemar_exact, wilson_interval
from vst_vla.vla.files import write_json

SAVED = "run/checkpoints/last/pretrained_model"
STEPS_OF_A_CHUNK = 8


def training(steps: int) -> tuple[str, ...]:
    """ACT of 256 dimensions without the variational part."""
    return (
        *("-m", "lerobot.scripts.lerobot_train", "--policy.type=act", "--policy.device=cpu"),
        *("--policy.push_to_hub=false", "--policy.pretrained_backbone_weights=null", "--policy.use_vae=false"),
        *("--policy.dim_model=256", "--policy.dim_feedforward=1024", "--policy.n_encoder_layers=2"),
        *("--policy.chunk_size=16", f"--policy.n_action_steps={STEPS_OF_A_CHUNK}", "--policy.dropout=0"),
        *("--policy.optimizer_lr=2e-4", "--policy.optimizer_lr_backbone=2e-4", "--dataset.use_imagenet_stats=false"),
        *("--dataset.repo_id=me/demos", "--dataset.root=demos", "--num_workers=1", "--batch_size=8"),
        *(f"--steps={steps}", "--log_freq=100", "--save_freq=1000", "--env_eval_freq=0", "--output_dir=run"),
    )


def theirs(episodes: int) -> tuple[str, ...]:
    """LeRobot's evaluation."""
    return (
        *("-m", "lerobot.scripts.lerobot_eval", f"--policy.path={SAVED}", "--policy.device=cpu"),
        *("--env.type=libero", "--env.task=libero_object", "--env.task_ids=[0]"),
        *("--env.observation_height=128", "--env.observation_width=128"),
        *(f"--eval.n_episodes={episodes}", "--eval.batch_size=1", "--output_dir=theirs"),
    )


def ours(episodes: int) -> tuple[str, ...]:
    """This package's."""
    return (
        *("-m", "vst_vla.scripts.cli", "rollout", "policy=lerobot", f"checkpoint={SAVED}", "protocol=lerobot"),
        *("suite=libero_object", "task_ids=[0]", f"init_states={episodes}", "image_size=128", "video=off", "out=ours"),
    )


def judged(folder: Path, episodes: int) -> dict[str, Any]:
    """Success by initial state, from both."""
    seconds_of_theirs, _ = run(theirs(episodes), folder)
    told = json.loads((folder / "theirs" / "eval_info.json").read_text())["per_task"][0]["metrics"]["successes"]
    seconds_of_ours, _ = run(ours(episodes), folder)
    lines = [json.loads(line) for line in (folder / "ours" / "records.jsonl").read_text().splitlines()]
    found = [line["success"] for line in sorted(lines, key=lambda line: int(line["init_state"]))]
    pairs = list(zip(told, found, strict=True))
    return {
        "lerobot_eval": {"command": spoken(theirs(episodes)), "seconds": seconds_of_theirs, **rate(told)},
        "vst_vla": {"command": spoken(ours(episodes)), "seconds": seconds_of_ours, **rate(found)},
        "same_outcome": sum(a == b for a, b in pairs),
        "mcnemar_p": mcnemar_exact(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)),
    }


def rate(outcomes: list[bool]) -> dict[str, Any]:
    """Successes with their interval."""
    low, high = wilson_interval(sum(outcomes), trials=len(outcomes))
    return {
        "successes": sum(outcomes),
        "trials": len(outcomes),
        "interval": [round(low, 3), round(high, 3)],
        "succeeded_from": [state for state, outcome in enumerate(outcomes) if outcome],
    }


def main() -> None:
    """Trains, judges twice and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="a finished training's output folder; none: train")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--out", type=Path, default=Path("docs/results/lerobot_act.json"))
    given = parser.parse_args()
    record: dict[str, Any] = {"cores": os.cpu_count(), "assets": find_assets("libero_object").kind}
    with tempfile.TemporaryDirectory() as made:
        folder = home(Path(made))
        (folder / "demos").symlink_to(given.data.resolve())
        record["train"] = {"command": spoken(training(given.steps))}
        if given.run:
            (folder / "run").symlink_to(given.run.resolve())
        else:
            record["train"]["seconds"], _ = run(training(given.steps), folder)
        record |= judged(folder, given.episodes)
    write_json(given.out, record | {"load_1_min": round(os.getloadavg()[0], 2)})
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
