"""Scenes with nothing to see: every family of objects gives no item, and a dataset of them ends with a plain error."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import FAMILIES, make_family
from vst_vla.envs.qa.base import Clip, takes_clips
from vst_vla.envs.qa.interview import BARREN_SCENES, Interview
from vst_vla.envs.qa.plan import QASettings, Shard
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.vla.contracts import SceneState

pytestmark = pytest.mark.sim
NEEDS_NO_OBJECT = "robot_gripper"
SETTINGS = QASettings(
    tasks=(("libero_object", 0),),
    num_items=4,
    families=(("detection", 1.0),),
    seed=0,
    image_size=64,
    mirror=True,
    short_prompt=False,
    cameras=("agentview", "robot0_eye_in_hand"),
    extra_views=1,
    episodes="",
    episode_share=0.0,
    items_per_scene=8,
    items_per_clip=4,
    shard_size=8,
    init_states=(20, 21),
)


def emptied(scene: SceneState) -> SceneState:
    """The same scene as cameras see it that no object is in front of."""
    return dataclasses.replace(scene, instances=np.zeros_like(scene.instances), visible=np.zeros_like(scene.visible))


class BlindStage(Stage):
    """Every object of its scene is hidden. It has one scene, since nobody looks at another."""

    def __init__(self) -> None:
        super().__init__("libero_object", task_id=0, assets=find_assets("libero_object"))
        self.scene = emptied(super().rearranged(SETTINGS.shot, rng=np.random.default_rng(0)))
        self.times_asked = 0

    def rearranged(self, shot: Shot, *, rng: np.random.Generator) -> SceneState:
        self.times_asked += 1
        return self.scene


@pytest.fixture(scope="module")
def stage() -> Iterator[BlindStage]:
    made = BlindStage()
    yield made
    made.close()


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - {NEEDS_NO_OBJECT}))
def test_a_family_has_nothing_to_ask(stage: BlindStage, name: str) -> None:
    family, rng = make_family(name), np.random.default_rng(1)
    about = Clip(frames=(stage.scene,) * 4, times=(0.0, 1.0, 2.0, 3.0)) if takes_clips(family) else stage.scene
    assert list(family(about, count=5, rng=rng)) == []


def test_a_dataset_of_such_scenes_ends_with_one_line(stage: BlindStage) -> None:
    shard = Shard(number=0, suite="libero_object", task_id=0, wanted=(("depth_order", 2), ("detection", 2)))
    with pytest.raises(ValueError, match="allow no question of family depth_order or detection: leave it out") as info:
        list(Interview(SETTINGS, shard, stage=stage).run())
    assert "\n" not in str(info.value)
    assert stage.times_asked == BARREN_SCENES
