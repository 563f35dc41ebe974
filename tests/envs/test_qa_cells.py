"""Labels beside questions against the simulator's own masks, depth and cameras."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from vst_vla.envs.assets import find_assets
from vst_vla.envs.geometry import apply, invert_rigid, project
from vst_vla.envs.qa import make_family
from vst_vla.envs.qa.base import VIDEO
from vst_vla.envs.qa.cells import SIDE, SceneCells
from vst_vla.envs.qa.generate import make_qa
from vst_vla.envs.qa.stage import Shot, Stage
from vst_vla.vla.contracts import Array, SceneState
from vst_vla.vla.data.picture_labels import scan_labels
from vst_vla.vla.data.records import SpatialRecords

pytestmark = pytest.mark.sim
SHOT = Shot(cameras=("agentview",), extra_views=2, image_size=128, mirror=True, init_states=tuple(range(20, 50)))


@pytest.fixture(scope="module")
def scene():
    stage = Stage("libero_object", task_id=1, assets=find_assets("libero_object"))
    yield stage.rearranged(SHOT, rng=np.random.default_rng(0))
    stage.close()


def held_against(cells: dict[str, Any], *, scene: SceneState, camera: str) -> int:
    """Every label's point projects into its own cell, at its depth, onto the object it names; how many name one."""
    view, labels = scene.cameras.index(camera), np.array(cells["numbers"]).reshape(SIDE, SIDE, 5)
    np.testing.assert_array_equal(labels[..., 1], labels[..., 4])
    pixels = project(labels[..., 2:] / 1000, intrinsics=scene.intrinsics[view])
    row, column = np.indices((SIDE, SIDE))
    size = len(scene.images[view]) // SIDE
    assert np.abs(pixels / size - np.stack([column, row], axis=-1) - 0.5).max() < 0.55
    spots = np.clip(pixels.astype(int), 0, len(scene.images[view]) - 1)
    held_against_objects(cells, scene=scene, labels=labels)
    depth = scene.depth[view][spots[..., 1], spots[..., 0]]
    assert np.median(np.abs(depth - labels[..., 1] / 1000)) < 0.005
    named = 0
    for number, name in enumerate(cells["names"][1:], start=1):
        there = labels[..., 0] == number
        mask = np.any([scene.mask(view, number=n) for n, kind in enumerate(scene.categories) if kind == name], axis=0)
        if there.any():
            assert mask[spots[..., 1], spots[..., 0]][there].mean() > 0.8, name
            named += int(there.sum())
    return named


def held_against_objects(cells: dict[str, Any], *, scene: SceneState, labels: Array) -> None:
    """From where the robot stands, every label of a category that is there once lies in its box."""
    pose = np.array(cells["pose"]).reshape(3, 4)
    for number, name in enumerate(cells["names"][1:], start=1):
        points = labels[labels[..., 0] == number][:, 2:] / 1000 @ pose[:, :3].T + pose[:, 3] + scene.base
        alike = [n for n, kind in enumerate(scene.categories) if kind == name]
        if len(points) and len(alike) == 1:
            inside = apply(invert_rigid(scene.poses[alike[0]]), points=points)
            assert (np.abs(inside) < scene.half_extents[alike[0]] + 0.01).all(), name


def test_every_picture_of_a_question_is_labelled_by_its_own_camera(scene):
    labels, named, numbers = SceneCells(scene), 0, set()
    for family in ("fields", "detection", "depth_order", "mi_correspondence", "mi_camera_motion"):
        for item in make_family(family)(scene, count=3, rng=np.random.default_rng(0)):
            cells = labels.of(item)
            cameras = item.about.get("cameras") or [item.about["camera"]]
            assert len(cells) == len(cameras) == len(item.images)
            named += sum(held_against(c, scene=scene, camera=name) for c, name in zip(cells, cameras, strict=True))
            record = item.to_record(name="a", data_source="test", cells=cells)
            assert [entry["cells"] for entry in json.loads(record["meta_info"])] == cells
            numbers.add(len(cells))
    assert named > 100
    assert numbers == {1, 2}


def test_films_and_questions_without_geometry_have_none(scene):
    (item,) = make_family("detection")(scene, count=1, rng=np.random.default_rng(0))
    assert "cells" not in item.to_record(name="a", data_source="test")["meta_info"]
    film = type(item)(**{**vars(item), "kind": VIDEO})
    assert SceneCells(scene).of(film) == []


def test_a_dataset_made_with_geometry_can_be_taught(tmp_path):
    made = {"mixture": {"detection": 1.0, "mi_camera_motion": 1.0}, "suite": "libero_object", "task_ids": [1]}
    make_qa(tmp_path, **made, num_items=4, image_size=128, num_workers=1, extra_views=2, geometry=True, progress=False)
    table, records = scan_labels([tmp_path]), SpatialRecords(tmp_path)
    shapes = [[labels.shape for labels in table.read(record)] for record in records]
    assert sorted(map(len, shapes)) == [1, 1, 2, 2]
    assert {shape for each in shapes for shape in each} == {(SIDE, SIDE, 5)}
    assert table.classes[0] == "background"
    assert len(table.classes) > 3
