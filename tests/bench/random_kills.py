"""Twenty kills of an evaluation at random moments, then its final table beside an undisturbed one.

    python tests/bench/random_kills.py --out docs/results/random_kills.json

Runs `vst-vla rollout` with the random policy. In turns, a worker or the main process is killed with SIGKILL after a
random time; a killed main process is started again with the same command. Once all kills are done the run goes on to
its end; one that ends before starts over in another folder. Records of each must equal those of a run that nobody
disturbed in everything but their wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from vst_vla.envs.assets import find_assets
from vst_vla.vla.files import write_json

RECORDS = "records.jsonl"


def command(out: Path, *, tasks: int, states: int, steps: int) -> list[str]:
    """The verb."""
    settings = ["suite=libero_object", f"task_ids=[{','.join(map(str, range(tasks)))}]", f"init_states={states}"]
    settings += [f"max_steps={steps}", "image_size=64", "num_envs=2", "video=off", f"out={out}"]
    return [sys.executable, "-m", "vst_vla.scripts.cli", "rollout", "policy=random", *settings]


def table(out: Path) -> list[dict[str, Any]]:
    """The records without their wall times, in order of task and initial state."""
    lines = [json.loads(line) for line in (out / RECORDS).read_text().splitlines()]
    for line in lines:
        del line["wall_s"]
    return sorted(lines, key=lambda line: (line["task_id"], line["init_state"]))


def differences(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> list[str]:
    """In which fields of which episodes two tables differ."""
    if len(found) != len(expected):
        return [f"{len(found)} episodes, not {len(expected)}"]
    return [
        f"task {ours['task_id']} state {ours['init_state']}: {key} is {ours[key]}, not {theirs[key]}"
        for ours, theirs in zip(found, expected, strict=True)
        for key in ours
        if ours[key] != theirs[key]
    ]


def workers(main: psutil.Process) -> list[psutil.Process]:
    """The simulators of a run."""
    try:
        children = main.children(recursive=True)
        return [child for child in children if any("spawn_main" in word for word in child.cmdline())]
    except (psutil.NoSuchProcess, psutil.ZombieProcess):  # it ended meanwhile
        return []


def disturbed(out: Path, given: argparse.Namespace, rng: random.Random, kills: list[dict[str, Any]]) -> None:
    """One run to its end, with what is left of the kills on its way."""
    line = command(out, tasks=given.tasks, states=given.states, steps=given.steps)
    while True:
        said = out.with_suffix(".log")
        with said.open("ab") as log:
            process = subprocess.Popen(line, stdout=log, stderr=log)
        killed_main = False
        while process.poll() is None and not killed_main and len(kills) < given.kills:
            wait = rng.uniform(2.0, given.longest)
            if wait_for_end(process, wait):
                break
            kind = ("worker", "main")[len(kills) % 2]
            found = workers(psutil.Process(process.pid)) if kind == "worker" else []
            if kind == "worker" and not found:
                continue  # the simulators are not up yet
            victim = rng.choice(found).pid if found else process.pid
            done = len((out / RECORDS).read_text().splitlines()) if (out / RECORDS).exists() else 0
            os.kill(victim, 9)
            kills.append({"what": kind, "after_s": round(wait, 2), "episodes_done": done})
            print(f"{len(kills)}/{given.kills} killed the {kind} with {done} episodes done", flush=True)
            killed_main = kind == "main"
        code = process.wait()
        if not killed_main:
            if code:
                raise RuntimeError(f"the run ended with exit code {code}:\n{said.read_text()[-2000:]}")
            return


def wait_for_end(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether the process ended within so many seconds."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return True
        time.sleep(0.05)
    return False


def main() -> int:
    """Runs undisturbed, then disturbed, compares and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--tasks", type=int, default=2)
    parser.add_argument("--states", type=int, default=20)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--longest", type=float, default=25.0, help="seconds between two kills at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("docs/results/random_kills.json"))
    given = parser.parse_args()
    rng, kills, differing = random.Random(given.seed), [], []
    with tempfile.TemporaryDirectory() as made:
        quiet = Path(made) / "quiet"
        subprocess.run(command(quiet, tasks=given.tasks, states=given.states, steps=given.steps), check=True)
        expected = table(quiet)
        while len(kills) < given.kills:
            out = Path(made) / f"run{len(differing)}"
            disturbed(out, given, rng, kills)
            differing.append(differences(table(out), expected))
    record = {
        "command": f"python tests/bench/random_kills.py --kills {given.kills}",
        "assets": find_assets("libero_object").kind,
        "episodes": len(expected),
        "runs": len(differing),
        "runs_equal_to_the_undisturbed_one": differing.count([]),
        "differences": [line for lines in differing for line in lines],
        "kills": kills,
    }
    write_json(given.out, record)
    print(json.dumps({key: value for key, value in record.items() if key != "kills"}, indent=1))
    return 1 if any(differing) else 0


if __name__ == "__main__":
    sys.exit(main())
