"""Scenes with nothing to see: families give no item, others take their place, and where none can, a plain error."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.qa import FAMILIES, make_family
from vst_vla.envs.qa.base import Clip, takes_clips
from vst_vla.envs.qa.interview import BARREN_SCENES, LAST_PATIENCE, Interview
from vst_vla.envs.qa.plan import QASettings, Shard
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.scripts import qa as qa_script
from vst_vla.vla.contracts import SceneState

pytestmark = pytest.mark.sim
NEED_NO_OBJECT = {"robot_gripper", "quiz"}
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
        self.seen = super().rearranged(SETTINGS.shot, rng=np.random.default_rng(0))
        self.scene = emptied(self.seen)
        self.times_asked = 0

    def rearranged(self, shot: Shot, *, rng: np.random.Generator) -> SceneState:
        self.times_asked += 1
        return self.scene


@pytest.fixture(scope="module")
def stage() -> Iterator[BlindStage]:
    made = BlindStage()
    yield made
    made.close()


@pytest.mark.parametrize("name", sorted(FAMILIES.keys() - NEED_NO_OBJECT))
def test_a_family_has_nothing_to_ask(stage: BlindStage, name: str) -> None:
    family, rng = make_family(name), np.random.default_rng(1)
    about = Clip(frames=(stage.scene,) * 4, times=(0.0, 1.0, 2.0, 3.0)) if takes_clips(family) else stage.scene
    assert list(family(about, count=5, rng=rng)) == []


def test_a_dataset_of_such_scenes_ends_with_one_line(stage: BlindStage) -> None:
    shard = Shard(number=0, suite="libero_object", task_id=0, wanted=(("depth_order", 2), ("detection", 2)))
    with pytest.raises(ValueError, match="allow no question of family depth_order or detection: leave it out") as info:
        list(Interview(SETTINGS, shard, stage=stage).run())
    assert "\n" not in str(info.value)
    assert stage.times_asked == LAST_PATIENCE * BARREN_SCENES


def test_a_rare_family_is_waited_for_where_no_other_can_take_over(
    stage: BlindStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    barren = iter([stage.scene] * (BARREN_SCENES + 5))
    monkeypatch.setattr(stage, "rearranged", lambda shot, *, rng: next(barren, stage.seen))
    shard = Shard(number=0, suite="libero_object", task_id=0, wanted=(("detection", 2),))
    asked = list(Interview(SETTINGS, shard, stage=stage).run())
    assert [item.family for some in asked for item in some.items] == ["detection"] * 2


def test_other_families_take_the_place_of_one_that_no_scene_allows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    three = ["mixture.mi_detection=1", "mixture.detection=1", "mixture.grounding=1"]  # the first needs several views
    few = ["task_ids=[0]", "num_items=9", "num_workers=1", "image_size=64", "cameras=[agentview]", "extra_views=0"]
    qa_script.main([f"out={tmp_path / 'out'}", *three, *few, "families=[mi_detection,detection,grounding]"])
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["handed_on"] == {"mi_detection": 3}
    assert manifest["counts"]["family"] == {"detection": 5, "grounding": 4}
    assert manifest["num_items"] == 9
    assert "others took the place of 3 mi_detection" in capsys.readouterr().out
