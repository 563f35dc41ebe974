"""`vst-vla train` in several processes of this machine that learn one batch together, each on some of the cores."""

from __future__ import annotations

import os
import subprocess
import sys

from vst_vla.scripts import train

LAUNCHER = "torch.distributed.run"


def train_together(arguments: list[str], *, processes: int) -> int:
    """Runs the verb; returns its exit status.

    Args:
        arguments: the verb's.
        processes: among which a step's rows are divided; one trains in this process.

    Raises:
        ValueError: less than one process.
    """
    if processes < 1:
        raise ValueError(f"processes is {processes}, expected at least 1")
    if processes == 1:
        return train.main(arguments)
    launch = [sys.executable, "-m", LAUNCHER, "--standalone", f"--nproc_per_node={processes}"]
    threads = max(1, (os.cpu_count() or 1) // processes)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    return subprocess.run([*launch, "-m", "vst_vla.scripts.cli", "train", *arguments], env=environment).returncode
