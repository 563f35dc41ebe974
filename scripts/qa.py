"""`vst-vla qa`: spatial questions with exact answers, in VST's parquet format."""

from __future__ import annotations

import time
from typing import Any

from vst_vla.envs.qa.generate import make_qa
from vst_vla.envs.qa.stage import EpisodeSource
from vst_vla.policies.episode_states import expert_states
from vst_vla.scripts.config import compose
from vst_vla.vla.contracts import unknown_name

PLAYERS: dict[str, EpisodeSource] = {"expert": expert_states}


def main(argv: list[str]) -> int:
    """Makes the dataset that the overrides describe and says what it holds."""
    config = compose("qa", argv)
    start = time.monotonic()
    manifest = make_qa(**(config | {"episodes": _player(config["episodes"])}))
    counts = ", ".join(f"{name} {count}" for name, count in manifest["counts"]["family"].items())
    seconds = time.monotonic() - start
    print(
        f"{manifest['num_items']} questions ({counts}; {manifest['assets']} assets) in {config['out']}, {seconds:.0f} s"
    )
    return 0


def _player(name: Any) -> EpisodeSource | None:
    """Who plays episodes. Raises ValueError for an unknown name."""
    if name is None:
        return None
    if name not in PLAYERS:
        raise unknown_name("player of episodes", str(name), PLAYERS)
    return PLAYERS[name]
