"""Reader options from the command line to the dataset."""

from __future__ import annotations

from vst_vla.scripts.config import compose
from vst_vla.vla.contracts import IMAGE_KEYS
from vst_vla.vla.data.robot import DEFAULT_READER, ReaderOptions


def options(*overrides: str) -> ReaderOptions:
    return ReaderOptions.from_dict(compose("train", list(overrides))["data"]["reader"])


def test_the_yaml_holds_the_defaults() -> None:
    assert options() == DEFAULT_READER


def test_overrides_reach_the_reader() -> None:
    given = options(
        "data.reader.cameras={image: front, observation.images.image2: observation.images.wrist}",
        "data.reader.episodes=[0,2]",
        "data.reader.skip=[2]",
        "data.reader.gripper=one_open",
    )
    assert given.image_keys == IMAGE_KEYS
    assert list((given.cameras or {}).values()) == ["front", "observation.images.wrist"]
    assert (given.episodes, given.skip, given.gripper) == ((0, 2), (2,), "one_open")
