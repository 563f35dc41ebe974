"""Exercises in reading without any picture: lists said again, options found by letter, numbers found by name.

A network from random weights that cannot repeat what stands in a question cannot answer one either, whatever it sees.
Most names mean nothing (`qa.renamed`), and those of things show none, so that nothing but the question says what to
answer. Repeating random lists is the
exercise by which the copying heads of a transformer appear (Olsson et al., arXiv 2209.11895).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vst_vla.envs.qa.choices import LETTERS
from vst_vla.envs.qa.renamed import invent_name
from vst_vla.envs.qa.shards import MANIFEST, claim, shard_bytes, shard_path, write_shard
from vst_vla.vla.files import write_json
from vst_vla.vla.words import OBJECTS

FAMILY = "repeat"
ITEMS_PER_FILE = 4096
LISTED, OFFERED = (3, 9), (2, 6)
"""Entries of a list and options under letters, fewest and most."""

Exercise = tuple[str, str]


def make_repeats(out: str | Path, *, num_items: int, seed: int = 0) -> dict[str, Any]:
    """Writes `num_items` exercises of all kinds in equal parts, lists twice, as VST records; returns the manifest.

    Args:
        out: the folder, which is made. The same settings give the same bytes.
        num_items: exercises.
        seed: of everything random.

    Raises:
        ValueError: no item is asked for, or the folder holds a dataset of other settings.
    """
    if num_items < 1:
        raise ValueError(f"num_items is {num_items}, expected at least 1")
    folder = Path(out)
    settings = {"repeats": num_items, "seed": seed}
    claim(folder, settings=settings)
    rng = np.random.default_rng([seed, num_items])
    rows = [_record(f"repeat-{seed}-{index:06d}", exercise(rng)) for index in range(num_items)]
    for number, start in enumerate(range(0, num_items, ITEMS_PER_FILE)):
        content = shard_bytes(rows[start : start + ITEMS_PER_FILE])
        write_shard(shard_path(folder, number=number), content=content)
    manifest = {"complete": True, "settings": settings, "num_items": num_items}
    write_json(folder / MANIFEST, manifest)
    return manifest


def exercise(rng: np.random.Generator) -> Exercise:
    """One question and its answer."""
    return KINDS[int(rng.integers(len(KINDS)))](rng)


def _list(rng: np.random.Generator) -> Exercise:
    """Say again: bosu, 0.25, kafe mi -> bosu, 0.25, kafe mi."""
    numbers = rng.random() < 0.3
    told = ", ".join(_number(rng) if numbers and rng.random() < 0.6 else _name(rng) for _ in range(_count(rng, LISTED)))
    return f"Say again: {told}", told


def _letter(rng: np.random.Generator) -> Exercise:
    """Which letter has the kafe? A bosu, B kafe. -> B."""
    options, place = _options(rng)
    return f"Which letter has the {options[place]}? {_line(options)}.", LETTERS[place]


def _option(rng: np.random.Generator) -> Exercise:
    """What stands under B? A bosu, B kafe. -> kafe."""
    options, place = _options(rng)
    return f"What stands under {LETTERS[place]}? {_line(options)}.", options[place]


def _value(rng: np.random.Generator) -> Exercise:
    """The bosu 0.25, the kafe 0.31. How much is the kafe? -> 0.31."""
    options, place = _options(rng)
    values = [_number(rng) for _ in options]
    told = ", ".join(f"the {name} {value}" for name, value in zip(options, values, strict=True))
    return f"{told.capitalize()}. How much is the {options[place]}?", values[place]


KINDS: tuple[Callable[[np.random.Generator], Exercise], ...] = (_list, _list, _letter, _option, _value)


def _options(rng: np.random.Generator) -> tuple[list[str], int]:
    """Different names, and the place of the one that is asked about."""
    names: dict[str, None] = {}
    count = _count(rng, OFFERED)
    while len(names) < count:
        names[_name(rng)] = None
    return list(names), int(rng.integers(count))


def _line(options: list[str]) -> str:
    return ", ".join(f"{letter} {name}" for letter, name in zip(LETTERS, options, strict=False))


def _name(rng: np.random.Generator) -> str:
    if rng.random() < 0.3:
        return str(rng.choice(OBJECTS))
    return " ".join(invent_name(rng, syllables=(1, 3)) for _ in range(int(rng.choice([1, 1, 2, 3]))))


def _number(rng: np.random.Generator) -> str:
    return f"{rng.uniform(-1, 2):.2f}"


def _count(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(bounds[0], bounds[1] + 1))


def _record(name: str, asked: Exercise) -> dict[str, Any]:
    turns = [{"from": "human", "value": asked[0]}, {"from": "gpt", "value": asked[1]}]
    meta = json.dumps([{"family": FAMILY}])
    return {
        "conversations": turns,
        "id": name,
        "data_source": "vst_vla/repeats",
        "images": [],
        "type": "text",
        "meta_info": meta,
    }
