"""Finding a Python: one that really starts, whatever else is on the PATH."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[1] / "scripts" / "find_python.sh"


def find(**environment: str) -> subprocess.CompletedProcess[str]:
    given = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment}
    return subprocess.run(["bash", str(SCRIPT)], env=given, capture_output=True, text=True, timeout=120, check=False)


def test_the_given_python_comes_first() -> None:
    assert find(PYTHON=sys.executable).stdout.strip() == sys.executable


def test_one_that_does_not_start_is_passed_over(tmp_path: Path) -> None:
    """A pyenv shim without its version, say, is on the PATH but fails."""
    broken = tmp_path / "python3.12"
    broken.write_text("#!/bin/sh\nexit 127\n")
    broken.chmod(0o755)
    real = tmp_path / "versions" / "3.12.99" / "bin"
    real.mkdir(parents=True)
    (real / "python").symlink_to(sys.executable)
    done = find(PATH=f"{tmp_path}:/usr/bin:/bin", PYENV_ROOT=str(tmp_path), PYTHON=str(broken))
    assert done.returncode == 0
    found = done.stdout.strip()
    assert found != str(broken)
    code = "import sys; print(sys.version_info[:2] >= (3, 12))"
    assert subprocess.check_output([found, "-c", code], text=True).strip() == "True"
