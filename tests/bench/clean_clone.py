"""`make test` from a clean clone, set-up included, timed.

    python tests/bench/clean_clone.py --shared FOLDER

Clones this repository's last commit into an empty folder, with FOLDER (when given) beside it as `shared`, runs the
README's own test command there and prints what it prints. Writes docs/results/clean_clone.json.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

from vst_vla.vla.files import write_json

COMMAND = ("make", "test")
SUMMARY = re.compile(r"^=*\s*(\d+ (?:passed|failed|error|skipped).* in [\d.]+s.*?)\s*=*$")
COUNT = re.compile(r"(\d+) (passed|failed|errors?|skipped)")


def main() -> None:
    """Clones, runs and writes the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shared", type=Path, help="a folder to link beside the clone")
    parser.add_argument("--out", type=Path, default=Path("docs/results/clean_clone.json"))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        clone = Path(made) / "clone"
        subprocess.run(["git", "clone", "--quiet", ".", str(clone)], check=True)
        if arguments.shared:
            (Path(made) / "shared").symlink_to(arguments.shared.resolve())
        revision = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=clone, text=True).strip()
        start = time.monotonic()
        code, lines = run(clone)
        seconds = time.monotonic() - start
    counts = Counter[str]()
    for number, kind in COUNT.findall("\n".join(lines)):
        counts[kind] += int(number)
    write_json(
        arguments.out,
        {
            "command": " ".join(COMMAND),
            "revision": revision,
            "cores": os.cpu_count(),
            "exit_code": code,
            "wall_s": round(seconds, 1),
            **counts,
            "summaries": lines,
        },
    )
    print(arguments.out.read_text())


def run(clone: Path) -> tuple[int, list[str]]:
    """The exit status and pytest's closing lines of the test command in a clone; all it prints is passed on."""
    lines = []
    process = subprocess.Popen(COMMAND, cwd=clone, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    for line in process.stdout:
        print(line, end="", flush=True)
        if summary := SUMMARY.match(line.strip()):
            lines.append(summary.group(1))
    return process.wait(), lines


if __name__ == "__main__":
    main()
