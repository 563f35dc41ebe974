"""Data that several learner tests train on, written once."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


def _module(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def learning_data() -> ModuleType:
    """The helpers in learning_data.py."""
    return _module("learning_data")


@pytest.fixture(scope="session")
def benchmark_layouts() -> ModuleType:
    """The helpers in benchmark_layouts.py."""
    return _module("benchmark_layouts")


@pytest.fixture(scope="session")
def head_batches() -> ModuleType:
    """The helpers in head_batches.py."""
    return _module("head_batches")


@pytest.fixture(scope="session")
def old_layouts() -> ModuleType:
    """The helpers in old_layouts.py."""
    return _module("old_layouts")


@pytest.fixture(scope="session")
def upstream_layout() -> ModuleType:
    """The helpers in upstream_layout.py."""
    return _module("upstream_layout")


@pytest.fixture(scope="session", autouse=True)
def frame_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Decoded pictures go to a folder of the test run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def robot_folder(learning_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = learning_data.write_robot_data(tmp_path_factory.mktemp("robot") / "data")
    return folder


@pytest.fixture(scope="session")
def labelled_folder(learning_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = learning_data.write_labelled_data(tmp_path_factory.mktemp("labelled") / "data")
    return folder


@pytest.fixture(scope="session")
def video_folder(learning_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = learning_data.write_robot_data(tmp_path_factory.mktemp("videos") / "data", video=True)
    return folder


@pytest.fixture(scope="session")
def question_folder(learning_data: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = learning_data.write_questions(tmp_path_factory.mktemp("questions"))
    return folder
