"""`vst-vla qa`: spatial questions with exact answers, in VST's parquet format."""

from __future__ import annotations

import time

from vst_vla.envs.qa.generate import make_qa
from vst_vla.scripts.config import compose


def main(argv: list[str]) -> int:
    """Makes the dataset that the overrides describe and says what it holds."""
    config = compose("qa", argv)
    start = time.monotonic()
    manifest = make_qa(**config)
    counts = ", ".join(f"{name} {count}" for name, count in manifest["counts"]["family"].items())
    seconds = time.monotonic() - start
    print(
        f"{manifest['num_items']} questions ({counts}; {manifest['assets']} assets) in {config['out']}, {seconds:.0f} s"
    )
    return 0
