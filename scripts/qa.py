"""`vst-vla qa`: spatial questions with exact answers, in VST's parquet format; an export or a preview of such a set."""

from __future__ import annotations

import time
from typing import Any

from vst_vla.envs.qa.generate import make_qa
from vst_vla.envs.qa.repeats import make_repeats
from vst_vla.envs.qa.stage import EpisodeSource
from vst_vla.envs.qa.teacher import Teacher
from vst_vla.policies.episode_states import expert_states
from vst_vla.policies.qa_preview import write_qa_preview
from vst_vla.scripts.config import compose
from vst_vla.vla.contracts import unknown_name
from vst_vla.vla.data.export import export_records

PLAYERS: dict[str, EpisodeSource] = {"expert": expert_states}
EXPORT_KEYS, PREVIEW_KEYS = ("export", "from", "out"), ("preview", "preview_items", "preview_mib", "out")
REPEAT_KEYS = ("repeats", "seed", "out")


def main(argv: list[str]) -> int:
    """Makes the dataset that the overrides describe, or exports or shows one, and says what came of it."""
    given = {override.split("=", 1)[0] for override in argv}
    config = compose("qa", argv)
    form, source, folder, repeats = (config.pop(key) for key in ("export", "from", "preview", "repeats"))
    shown = {"per_family": config.pop("preview_items"), "mib": config.pop("preview_mib")}
    if form is not None or source is not None:
        _only(EXPORT_KEYS, given, what="export=, which converts a dataset")
        return _export(form, source, config["out"], given)
    if repeats is not None:
        _only(REPEAT_KEYS, given, what="repeats=, which needs no scenes")
        made = make_repeats(config["out"], num_items=repeats, seed=config["seed"])
        print(f"{made['num_items']} exercises in {config['out']}")
        return 0
    if folder is not None:
        _only(PREVIEW_KEYS, given, what="preview=, which shows a dataset")
        print(write_qa_preview(folder, out=config["out"] if "out" in given else None, **shown))
        return 0
    return _make(config)


def _make(config: dict[str, Any]) -> int:
    start = time.monotonic()
    chosen = {"episodes": _player(config["episodes"]), "teacher": _teacher(config["teacher"])}
    manifest = make_qa(**(config | chosen))
    counts = ", ".join(f"{name} {count}" for name, count in manifest["counts"]["family"].items())
    seconds = time.monotonic() - start
    print(
        f"{manifest['num_items']} questions ({counts}; {manifest['assets']} assets) in {config['out']}, {seconds:.0f} s"
    )
    if missing := manifest["handed_on"]:
        named = ", ".join(f"{count} {name}" for name, count in missing.items())
        print(f"some scenes allow no question of a family; others took the place of {named}")
    if replies := manifest.get("teacher"):
        print("teacher: " + ", ".join(f"{count} {kind}" for kind, count in replies.items()))
    return 0


def _export(form: str | None, source: str | list[str] | None, out: str, given: set[str]) -> int:
    if form is None or source is None or "out" not in given:
        missing = [key for key, value in (("export", form), ("from", source)) if value is None]
        missing += ["out"] if "out" not in given else []
        raise ValueError(f"an export needs {'= and '.join(missing)}=: give export=llava from=QUESTIONS out=FOLDER")
    done = export_records(source, out=out, form=form)
    left_out = "".join(f", {count} left out ({reason})" for reason, count in done.left_out.items())
    print(f"{done.num_rows} questions as {form} in {done.folder}, {done.skipped} unusable rows skipped{left_out}")
    return 0


def _only(keys: tuple[str, ...], given: set[str], *, what: str) -> None:
    """Raises ValueError when a key was given that has no meaning with these."""
    for key in sorted(given - set(keys)):
        raise ValueError(f"{key}= has no meaning with {what}: give {', '.join(f'{key}=' for key in keys)} only")


def _player(name: Any) -> EpisodeSource | None:
    """Who plays episodes. Raises ValueError for an unknown name."""
    if name is None:
        return None
    if name not in PLAYERS:
        raise unknown_name("player of episodes", str(name), PLAYERS)
    return PLAYERS[name]


def _teacher(settings: dict[str, Any]) -> Teacher | None:
    """Who writes thoughts. Raises ValueError for a model without an address, or another setting that cannot be."""
    if settings["url"] is None:
        if settings["model"] is not None:
            raise ValueError(f"teacher.model={settings['model']} has no address: give teacher.url= too")
        return None
    return Teacher(**settings)
