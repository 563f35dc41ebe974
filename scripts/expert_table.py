"""`python -m vst_vla.scripts.expert_table out=FILE`: the scripted expert's success on each task, as JSON."""

from __future__ import annotations

import sys
from pathlib import Path

from vst_vla.policies.expert.table import success_table
from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status
from vst_vla.vla.files import write_json


def main(argv: list[str]) -> int:
    """Writes the table and prints a line a task."""
    cfg = compose("expert_table", argv)
    table = success_table(
        suites=[cfg["suite"]] if isinstance(cfg["suite"], str) else cfg["suite"],
        task_ids=cfg["task_ids"],
        init_states=range(cfg["num_init_states"]),
        noise=cfg["noise"],
        seed=cfg["seed"],
        vary=cfg["vary"],
        num_workers=cfg["num_workers"],
    )
    out = Path(cfg["out"])
    write_json(out, {"command": " ".join(["python -m vst_vla.scripts.expert_table", *argv]), **table})
    for row in table["tasks"]:
        done = f"{row['successes']:>3}/{cfg['num_init_states']}"
        print(f"{row['suite']:<14} {row['task_id']:>2} {done} {row['median_steps']:>4.0f} steps  {row['task']}")
    for suite, rate in table["success_rate_by_suite"].items():
        print(f"{suite}: {rate:.1%}")
    print(f"{out}: {table['success_rate']:.1%} of {table['num_episodes']} episodes, {table['assets']} assets")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status("expert_table", lambda: main(sys.argv[1:])))
