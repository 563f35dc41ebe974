"""Which assets a run gets, what happens when there are none, and that LIBERO stays silent."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from vst_vla.envs import download, libraries
from vst_vla.envs.assets import SUBFOLDERS, Assets, assets_in, find_assets, hub_cache

IMPORT_SIMULATOR = """
from pathlib import Path
from vst_vla.envs.assets import Assets, prepare_libero
for _ in range(2):
    prepare_libero(Assets(Path("some_assets"), "official"))
import libero.libero, libero.libero.envs
assert libero.libero._assets_path_cache == "some_assets"
"""


@pytest.fixture(autouse=True)
def fresh_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user who has nothing: an empty home, no cache, no variable, no network, and no memory of an earlier look."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("VST_VLA_LIBERO_ASSETS", raising=False)
    monkeypatch.delenv("LIBERO_CONFIG_PATH", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    download.hub_silence.cache_clear()
    yield tmp_path
    download.hub_silence.cache_clear()


def make_folder(folder: Path, *, mark: str | None = None) -> Path:
    for name in (*SUBFOLDERS, "scenes", "textures"):
        (folder / name).mkdir(parents=True)
    if mark:
        (folder / mark).write_text("why")
    return folder


def error_of(call: object, *arguments: object, **options: object) -> str:
    assert callable(call)
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        call(*arguments, **options)
    return str(caught.value)


@pytest.mark.parametrize(("mark", "kind"), [(None, "official"), ("STAND_INS.txt", "stand-in")])
def test_the_variable_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: str | None, kind: str) -> None:
    make_folder(hub_cache())
    folder = make_folder(tmp_path / "mine", mark=mark)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VST_VLA_LIBERO_ASSETS", "mine")
    assert find_assets("libero_goal") == Assets(folder, kind)


def test_then_the_folder_that_hf_libero_fills() -> None:
    folder = make_folder(hub_cache())
    assert find_assets("libero_10") == Assets(folder, "official")


def test_an_unfinished_cache_does_not_count() -> None:
    make_folder(hub_cache())
    (hub_cache() / "stable_hope_objects").rmdir()
    assert find_assets("libero_object").kind == "placeholder"


def test_without_network_libero_object_gets_placeholders() -> None:
    start = time.monotonic()
    assets = find_assets("libero_object")
    assert time.monotonic() - start < 10
    assert assets.kind == "placeholder"
    assert (assets.path / "stable_hope_objects/milk/milk.xml").is_file()
    assert assets_in(assets.path, suite="libero_object") == assets
    assert pickle.loads(pickle.dumps(assets)) == assets


def test_without_network_other_suites_get_one_line_with_the_three_ways() -> None:
    message = error_of(find_assets, "libero_spatial")
    for part in (
        "libero_spatial",
        "go online",
        "lerobot/libero-assets",
        "~/.cache/libero/assets",
        "VST_VLA_LIBERO_ASSETS",
    ):
        assert part in message


def test_the_word_placeholder_forces_them(monkeypatch: pytest.MonkeyPatch) -> None:
    make_folder(hub_cache())
    monkeypatch.setenv("VST_VLA_LIBERO_ASSETS", "placeholder")
    assert find_assets("libero_object").kind == "placeholder"
    assert "no assets for libero_10" in error_of(find_assets, "libero_10")


def test_a_placeholder_folder_serves_no_other_suite() -> None:
    folder = find_assets("libero_object").path
    assert "holds placeholders" in error_of(assets_in, folder, suite="libero_goal")


def test_a_folder_without_assets_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_folder(tmp_path / "half")
    (folder / "scenes").rmdir()
    monkeypatch.setenv("VST_VLA_LIBERO_ASSETS", str(folder))
    assert "lacks scenes;" in error_of(find_assets, "libero_goal")
    monkeypatch.setenv("VST_VLA_LIBERO_ASSETS", str(tmp_path / "nowhere"))
    assert "no asset folder" in error_of(find_assets, "libero_goal")


def test_a_hub_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_hub_at(monkeypatch, port=silent.getsockname()[1])
        start = time.monotonic()
        reason = download.hub_silence(patience_s=0.5)
        assert time.monotonic() - start < 3
        assert reason is not None
        assert download.hub_silence(patience_s=0.5) is reason, "asked once a process"


def test_a_failed_download_leaves_no_asset_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    point_hub_at(monkeypatch, port=port)
    reason = download.fetch_assets(hub_cache())
    assert reason
    assert "\n" not in reason
    assert not hub_cache().exists()


def test_a_finished_download_replaces_an_unfinished_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    (hub_cache() / "scenes").mkdir(parents=True)
    (hub_cache() / "scenes" / "old.xml").write_text("")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, local_dir, **__: fill(local_dir))
    assert download.fetch_assets(hub_cache()) is None
    assert assets_in(hub_cache(), suite="libero_goal").kind == "official"
    assert not (hub_cache() / "scenes" / "old.xml").exists()
    assert not hub_cache().with_name("assets.partial").exists()


def test_libero_asks_and_prints_nothing(tmp_path: Path) -> None:
    said = run_python(IMPORT_SIMULATOR)
    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    assert not (tmp_path / "home" / ".libero").exists()


def test_a_config_of_the_users_is_left_alone(tmp_path: Path) -> None:
    config = tmp_path / "home" / ".libero" / "config.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("assets: elsewhere\n")
    assert run_python(IMPORT_SIMULATOR).returncode == 0
    assert config.read_text() == "assets: elsewhere\n"
    assert list(config.parent.iterdir()) == [config]
    assert not (tmp_path / "home" / ".cache" / "vst-vla" / "libero_config").exists()


def test_a_machine_without_a_graphics_driver_is_told_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("__EGL_VENDOR_LIBRARY_DIRS", "/nonexistent")
    monkeypatch.setenv("MUJOCO_GL", "egl")
    last = run_python(IMPORT_SIMULATOR).stderr.strip().splitlines()[-1]
    assert last.startswith("ValueError: EGL finds no graphics driver: install one with `sudo apt-get install")


def test_a_missing_library_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    monkeypatch.setitem(libraries.RENDERER_LIBRARIES, "osmesa", ("libnowhere.so.7",))
    monkeypatch.setitem(libraries.PACKAGES, "libnowhere.so.7", "libnowhere7")
    message = error_of(libraries.require_libraries)
    assert "libnowhere.so.7" in message
    assert "sudo apt-get install -y libnowhere7" in message


def test_every_library_has_a_package() -> None:
    for names in (*libraries.RENDERER_LIBRARIES.values(), libraries.IMAGE_LIBRARIES):
        assert libraries.install_command(names)


def test_an_unknown_renderer_gets_a_hint() -> None:
    assert "did you mean 'egl'?" in error_of(libraries.missing_libraries, renderer="elg")


def point_hub_at(monkeypatch: pytest.MonkeyPatch, *, port: int) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{port}")
    monkeypatch.setattr("huggingface_hub.hf_api.constants.ENDPOINT", f"http://127.0.0.1:{port}")


def fill(folder: Path) -> None:
    for name in (*SUBFOLDERS, "scenes", "textures"):
        (folder / name).mkdir()


def run_python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=120, check=False
    )
