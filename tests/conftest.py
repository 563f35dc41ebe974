"""What every test shares: the assets that LIBERO runs with, and one thread a process for the simulator."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED_ASSETS = Path(__file__).resolve().parents[2] / "shared" / "libero_assets"


def pytest_configure() -> None:
    """Tests run LIBERO with the assets beside the checkout when there are some, with placeholders otherwise."""
    os.environ.setdefault("VST_VLA_LIBERO_ASSETS", str(SHARED_ASSETS) if SHARED_ASSETS.is_dir() else "placeholder")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def has_full_assets() -> bool:
    """Whether suites other than libero_object can run here."""
    return os.environ["VST_VLA_LIBERO_ASSETS"] != "placeholder"


@pytest.fixture
def ray_cluster() -> Iterator[None]:
    """A Ray cluster of this machine, for tests with the marker `alone`."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, include_dashboard=False, logging_level="warning", log_to_driver=False)
    yield
    ray.shutdown()
