"""`python -m vst_vla.scripts.demos_speed out=FILE`: demonstrations a minute, as JSON."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from vst_vla.policies.demo_speed import measure_demos
from vst_vla.scripts.config import compose
from vst_vla.scripts.exit_status import exit_status
from vst_vla.vla.files import write_json


def main(argv: list[str]) -> int:
    """Measures, writes the record and prints it in short."""
    config = compose("demos_speed", argv)
    out = Path(config.pop("out"))
    result = measure_demos(**config)
    command = " ".join(["python -m vst_vla.scripts.demos_speed", *argv])
    write_json(out, {"command": command, "machine": platform.processor() or platform.machine(), **result})
    for way in ("every_step", "recorded_only"):
        row = result[way]
        print(f"{way:<14} {row['per_minute']:>6} demonstrations a minute, {row['processor_s']} processor s each")
    print(f"{out}: {result['ratio_wall']} times as many ({result['ratio_processor']} by processor time)")
    return 0


if __name__ == "__main__":
    sys.exit(exit_status("demos_speed", lambda: main(sys.argv[1:])))
