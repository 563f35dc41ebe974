"""One thread a worker: several simulators on few cores must not each start a thread a core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LP_NUM_THREADS")
"""What numpy's libraries and Mesa's software renderer (LP) read when a process starts."""


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Processes started within compute and draw with one thread each; this process's own variables are put back."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
