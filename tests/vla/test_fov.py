"""Field-of-view unification against upstream's numbers."""

import numpy as np
import pytest
from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize as qwen_smart_resize

from vst_vla.envs.geometry import intrinsics_from_fovy
from vst_vla.envs.qa.boxes import CAMERA_END as WRITTEN_CAMERA_END
from vst_vla.envs.qa.boxes import camera_text
from vst_vla.vla.fov import CAMERA_END, FovTarget, focal_in_prompt, smart_resize, unify_record, unify_size

TINY = FovTarget(width=112, hfov_deg=45)


def record(question, *, size=(128, 128), kind="bbox_3d"):
    image = np.full((*size, 3), 90, dtype=np.uint8)
    turns = [{"from": "human", "value": question}, {"from": "gpt", "value": "[]"}]
    return {"id": "r", "type": kind, "images": [image], "conversations": turns}


def test_the_common_focal_length_is_vsts():
    assert FovTarget().focal == pytest.approx(696.32, abs=0.005)


def test_a_camera_with_upstreams_demo_focal_length():
    unified = unify_size(730, height=530, focal=529.5, target=FovTarget())
    assert (f"{unified.hfov_deg:.2f}", f"{unified.vfov_deg:.2f}") == ("69.16", "53.17")
    assert (unified.width, unified.height) == (959, 696)  # 959.98 and 696.97 are cut, not rounded
    assert (unified.resized_width, unified.resized_height) == (952, 700)


@pytest.mark.parametrize(("fovy", "expected"), [(45.0, 576), (75.0, 1068)])
def test_liberos_cameras(fovy, expected):
    focal = intrinsics_from_fovy(fovy, width=256, height=256)[0, 0]
    unified = unify_size(256, height=256, focal=focal, target=FovTarget())
    assert (unified.width, unified.height) == (expected, expected)
    assert unified.hfov_deg == pytest.approx(fovy)
    assert unified.resized_width % 28 == 0
    assert abs(unified.resized_width - expected) <= 14


def test_focal_fx_serves_both_axes_and_the_ratio_is_kept():
    unified = unify_size(640, height=480, focal=500.0, target=FovTarget())
    scale = FovTarget().focal / 500.0
    assert (unified.width, unified.height) == (int(640 * scale), int(480 * scale))
    assert unified.vfov_deg == pytest.approx(np.degrees(2 * np.arctan(480 / 1000)))


@pytest.mark.parametrize("size", [(480, 640), (1200, 400), (3000, 4000), (20, 30), (112, 112), (9000, 9000)])
def test_smart_resize_is_qwens(size):
    height, width = size
    expected = qwen_smart_resize(height, width, factor=28, min_pixels=56 * 56, max_pixels=4096 * 28 * 28)
    assert smart_resize(height, width=width, target=FovTarget()) == expected


def test_a_written_prompt_is_unified_picture_and_line():
    intrinsics = intrinsics_from_fovy(45.0, width=128, height=128)
    question = f"<image>\n{camera_text(intrinsics, width=128, height=128)}\nWhere is the milk?"
    unified = unify_record(record(question), target=FovTarget())
    text = unified["conversations"][0]["value"]
    assert "hfov=45.00" in text
    assert "vfov=45.00" in text
    assert "width=576 and height=576" in text
    assert "f_x" not in text
    assert text.startswith("<image>\n")
    assert text.endswith(f"{CAMERA_END}\nWhere is the milk?")
    assert unified["images"][0].shape == (588, 588, 3)
    assert unified["conversations"][1] == {"from": "gpt", "value": "[]"}


def test_a_unified_prompt_can_be_unified_again():
    intrinsics = intrinsics_from_fovy(45.0, width=128, height=128)
    once = unify_record(record(camera_text(intrinsics, width=128, height=128) + "\nQ"), target=FovTarget())
    again = unify_record(once, target=TINY)
    assert "width=112 and height=112" in again["conversations"][0]["value"]
    assert again["images"][0].shape == (112, 112, 3)


def test_the_tiny_preset_meets_its_picture_size_exactly():
    question = "Detect the 3D boxes of the milk. hfov 45.00, vfov 45.00, 128x128."
    unified = unify_record(record(question), target=TINY)
    assert unified["conversations"][0]["value"] == question.replace("128x128", "112x112")
    assert unified["images"][0].shape == (112, 112, 3)


def test_upstreams_own_wording_is_understood():
    prompt = (
        "The image width=730 and height=530. Focal length f_x=529.50 and f_y=529.50, c_x=365.00, cy=265.00.\n"
        f"{CAMERA_END}\nDetect the chair."
    )
    assert focal_in_prompt(prompt, width=730) == 529.5
    text = unify_record(record(prompt, size=(530, 730)), target=FovTarget())["conversations"][0]["value"]
    assert "hfov=69.16" in text
    assert text.endswith(f"{CAMERA_END}\nDetect the chair.")


@pytest.mark.parametrize("kind", ["mm_qa", "thought_bbox_3d", "text"])
def test_other_types_keep_picture_and_text(kind):
    before = record("hfov 45.00, vfov 45.00, 128x128", kind=kind)
    after = unify_record(before, target=FovTarget())
    assert after["images"][0] is before["images"][0]
    assert after["conversations"] == before["conversations"]


def test_a_prompt_without_camera_is_left_alone():
    before = record("Detect the chair.")
    assert unify_record(before, target=FovTarget())["images"][0].shape == (128, 128, 3)


def test_a_box_record_without_picture_is_refused():
    with pytest.raises(ValueError, match="'r' is of type bbox_3d but carries no picture"):
        unify_record({**record("Q"), "images": []}, target=FovTarget())


def test_a_camera_without_focal_length_is_refused():
    with pytest.raises(ValueError, match="expected positive numbers"):
        unify_size(100, height=100, focal=0.0, target=FovTarget())


def test_the_sentence_that_loaders_look_for_is_written():
    assert WRITTEN_CAMERA_END == CAMERA_END
