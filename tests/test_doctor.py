"""`vst-vla doctor`: six lines, each ok or with the way to mend it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vst_vla.envs import doctor
from vst_vla.envs.doctor import Check, run_checks
from vst_vla.scripts.doctor import main


def test_six_lines_and_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code = main([f"out={tmp_path / 'runs'}"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["python", "torch", "gpu", "renderer", "assets", "disk"]
    assert code == int(any("MEND" in line for line in lines))
    assert not (tmp_path / "runs").exists(), "doctor only looks"


@pytest.mark.sim
def test_this_machine_draws() -> None:
    note = doctor.look_at_renderer()
    assert re.search(r"^egl on .+, a 256 px frame in \d+ ms$", note), note


def test_bad_machine_gets_mending_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("VST_VLA_LIBERO_ASSETS", str(tmp_path / "nowhere"))
    monkeypatch.setenv("MUJOCO_GL", "elg")
    monkeypatch.setattr(doctor, "NEEDED_GIB", 1e9)
    assert main([f"out={tmp_path}"]) == 1
    report = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "MEND" in report["renderer"]
    assert "did you mean 'egl'?" in report["renderer"]
    assert "no asset folder" in report["assets"]
    assert "make room" in report["disk"]
    assert " ok " in report["python"]


def test_an_old_python_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "OLDEST", (3, 99))
    with pytest.raises(ValueError, match=r"use 3\.12 or 3\.13"):
        doctor.look_at_python()


def test_a_line_reads_as_data(tmp_path: Path) -> None:
    checks = list(run_checks(outputs=tmp_path))
    assert all(isinstance(check, Check) and "\n" not in check.note for check in checks)
    assert str(Check(name="disk", ok=False, note="make room")) == "disk      MEND  make room"
