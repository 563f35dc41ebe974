"""The house rules, read out of the source: dependencies run one way, files stay small, Hydra stays in scripts/."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("vla", "envs", "policies", "scripts", "configs")
MAY_IMPORT = {
    "vla": {"vla"},
    "envs": {"envs", "vla.contracts", "vla.files", "vla.words"},
    "policies": {"policies", "envs", "vla"},
    "scripts": {"scripts", "policies", "envs", "vla", "configs"},
}
SOURCES = sorted(p for folder in MAY_IMPORT for p in (ROOT / folder).rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_dependencies_run_one_way(path: Path) -> None:
    allowed = MAY_IMPORT[path.relative_to(ROOT).parts[0]]
    for name in imports(path):
        assert name.split(".")[0] not in FOLDERS, f"{path}: import {name} as vst_vla.{name}"
        if name.startswith("vst_vla."):
            ours = name.removeprefix("vst_vla.")
            assert any(ours == a or ours.startswith(f"{a}.") for a in allowed), f"{path} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_hydra_only_in_scripts(path: Path) -> None:
    if path.relative_to(ROOT).parts[0] != "scripts":
        assert not {n for n in imports(path) if n.split(".")[0] in {"hydra", "omegaconf"}}


@pytest.mark.parametrize(
    "path", [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))], ids=lambda p: str(p.relative_to(ROOT))
)
def test_files_are_short(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def test_packages_are_listed() -> None:
    """pyproject's package list is the folder list: a new folder must not go missing from the installed package."""
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        "vst_vla." + str(init.parent.relative_to(ROOT)).replace("/", ".")
        for folder in MAY_IMPORT
        for init in (ROOT / folder).rglob("__init__.py")
    }
    groups = {f"vst_vla.configs.{path.name}" for path in (ROOT / "configs").iterdir() if path.is_dir()}
    assert listed == found | groups | {"vst_vla.configs"}


def test_envs_import_without_torch() -> None:
    """A simulator worker never pays for torch."""
    modules = sorted(
        "vst_vla." + ".".join(p.relative_to(ROOT).with_suffix("").parts)
        for p in (ROOT / "envs").rglob("*.py")
        if p.name != "__init__.py"
    )
    code = "import sys\n" + "\n".join(f"import {m}" for m in modules) + "\nassert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_every_verb_has_a_file_a_yaml_and_help() -> None:
    from vst_vla.scripts.cli import VERBS
    from vst_vla.scripts.config import describe

    for verb in VERBS:
        assert (ROOT / "scripts" / f"{verb}.py").is_file()
        text = describe(verb)
        assert text.startswith(f"usage: vst-vla {verb}")
        assert "vst-vla" in text.split("keys and their defaults")[0].split("\n", 1)[1], (
            f"{verb}: no command in the header"
        )
