"""What a run needs of this machine, looked at one by one: each check is `ok`, or says how to mend it."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vst_vla.envs import download
from vst_vla.envs.assets import ASSETS_VARIABLE, hub_cache, local_assets
from vst_vla.envs.libraries import DRIVER_COMMAND, choose_renderer, require_display, require_libraries
from vst_vla.vla.files import cache_root

SUITE = "libero_object"
OLDEST, NEWEST = (3, 12), (3, 13)
NEEDED_GIB = 3.0
"""A quickstart's demonstrations, checkpoints and videos, with room to spare."""
DRAWING_LIMIT_S = 60


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of the report. `note` says what was found, or, when not `ok`, how to mend it."""

    name: str
    ok: bool
    note: str

    def __str__(self) -> str:
        return f"{self.name:<9} {'ok' if self.ok else 'MEND':<5} {self.note}"


def run_checks(*, outputs: Path) -> Iterator[Check]:
    """Every check in turn, each yielded as soon as it is done. `outputs` is where the user's runs will be written."""
    looks: dict[str, Callable[[], str]] = {
        "python": look_at_python,
        "torch": look_at_torch,
        "gpu": look_at_gpu,
        "renderer": look_at_renderer,
        "assets": look_at_assets,
        "disk": lambda: look_at_disk(outputs=outputs),
    }
    for name, look in looks.items():
        try:
            yield Check(name=name, ok=True, note=look())
        except (ValueError, OSError, ImportError) as error:
            yield Check(name=name, ok=False, note=" ".join(str(error).split()))


def look_at_python() -> str:
    """The running Python. ValueError when the pinned packages have no wheels for it."""
    have = sys.version_info[:2]
    if not OLDEST <= have <= NEWEST:
        raise ValueError(f"Python {have[0]}.{have[1]}: use 3.12 or 3.13, for example `uv venv --python 3.12`")
    return f"{sys.version.split()[0]} at {sys.executable}"


def look_at_torch() -> str:
    """Torch's version and threads. ImportError or OSError when it does not load."""
    if importlib.util.find_spec("torch") is None:
        raise ValueError("torch is not installed: run `make setup`")
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads of {os.cpu_count()} cores"


def look_at_gpu() -> str:
    """The GPUs that torch can use; none is fine, everything runs on the CPU."""
    if importlib.util.find_spec("torch") is None:
        raise ValueError("unknown without torch: run `make setup`")
    import torch

    if not torch.cuda.is_available():
        return "none, runs on the CPU"
    cards = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    return ", ".join(f"{card.name} {card.total_memory / 2**30:.0f} GiB" for card in cards)


def look_at_renderer() -> str:
    """Draws a 256 x 256 frame in a process of its own, since a broken driver may take its process down."""
    renderer = choose_renderer()
    require_libraries()
    require_display()
    command = [sys.executable, "-m", "vst_vla.envs.drawing"]
    try:
        drawing = subprocess.run(command, capture_output=True, text=True, timeout=DRAWING_LIMIT_S, check=True)
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1]
        raise ValueError(f"MUJOCO_GL={renderer} draws nothing ({last}): run `{DRIVER_COMMAND}`") from error
    except subprocess.TimeoutExpired as error:
        raise ValueError(f"MUJOCO_GL={renderer} drew nothing in {DRAWING_LIMIT_S} s: try MUJOCO_GL=osmesa") from error
    drawn = json.loads(drawing.stdout)
    return f"{renderer} on {drawn['device']}, a 256 px frame in {1000 * drawn['frame_s']:.0f} ms"


def look_at_assets() -> str:
    """Which assets a run of libero_object would use. Downloads nothing."""
    assets = local_assets(SUITE)
    if assets is not None:
        return f"{assets.kind} at {assets.path}"
    silence = download.hub_silence()
    if silence is None:
        return f"none yet: the first run downloads the official ones to {hub_cache()}"
    return (
        f"placeholders for {SUITE} (official ones cannot be downloaded: {silence}); "
        f"for other suites set {ASSETS_VARIABLE} to a folder with LIBERO's assets"
    )


def look_at_disk(*, outputs: Path) -> str:
    """Free space where runs and caches are written. ValueError when a quickstart would not fit."""
    places = {"outputs": outputs, "cache": cache_root()}
    free = {name: shutil.disk_usage(_existing(place)).free / 2**30 for name, place in places.items()}
    for name, gib in free.items():
        if gib < NEEDED_GIB:
            raise ValueError(
                f"{gib:.1f} GiB free for {name} at '{places[name]}', expected {NEEDED_GIB:g}: make room there"
            )
    return ", ".join(f"{gib:.0f} GiB free for {name}" for name, gib in free.items())


def _existing(place: Path) -> Path:
    """The nearest parent that exists: where the folder would be made."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())
