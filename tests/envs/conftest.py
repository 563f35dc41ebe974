"""Makes the checkers in qa_truth/ importable: tests are no package."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _register(folder: Path) -> None:
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = module
    spec.loader.exec_module(module)


_register(Path(__file__).with_name("qa_truth"))
