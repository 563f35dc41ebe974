"""`python -m vst_vla.scripts.expert_table out=FILE`: the scripted expert's success on each task, as JSON."""

from __future__ import annotations

import sys
from pathlib import Path

from vst_vla.envs.suites import num_tasks
from vst_vla.policies.expert.table import success_table
from vst_vla.scripts.config import HelpShown, compose
from vst_vla.vla.files import write_json


def main(argv: list[str]) -> int:
    """Writes the table and prints a line a task."""
    cfg = compose("expert_table", argv)
    table = success_table(
        suite=cfg["suite"],
        task_ids=range(num_tasks(cfg["suite"])) if cfg["task_ids"] is None else cfg["task_ids"],
        init_states=range(cfg["num_init_states"]),
        noise=cfg["noise"],
        seed=cfg["seed"],
        vary=cfg["vary"],
    )
    out = Path(cfg["out"])
    write_json(out, {"command": " ".join(["python -m vst_vla.scripts.expert_table", *argv]), **table})
    for row in table["tasks"]:
        print(f"{row['task_id']:>3}  {row['successes']:>3}/{cfg['num_init_states']}  {row['task']}")
    print(f"{out}: {table['success_rate']:.1%} of {table['num_episodes']} episodes, {table['assets']} assets")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except HelpShown:
        sys.exit(0)
