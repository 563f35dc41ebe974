"""The one transform list: random in training, deterministic and matching at evaluation, invertible for actions."""

from __future__ import annotations

import numpy as np
import pytest

from vst_vla.vla.contracts import ACTION_KEY, IMAGE_KEY, IMAGE_KEYS, STATE_KEY, WRIST_IMAGE_KEY
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.spec import ModelSpec
from vst_vla.vla.transforms import Augmentation, CropResize, action_normalizer, apply, build_transforms


def make_stats(*, action: int = 7, state: int = 8) -> NormStats:
    def feature(dim: int) -> FeatureStats:
        low, high = tuple(-0.5 - 0.1 * i for i in range(dim)), tuple(0.4 + 0.1 * i for i in range(dim))
        middle = tuple(0.0 for _ in range(dim))
        return FeatureStats(mean=middle, std=high, min=low, max=high, q01=low, q99=high)

    return NormStats({ACTION_KEY: feature(action), STATE_KEY: feature(state)})


def make_sample(rng: np.random.Generator) -> dict:
    pictures = {key: rng.integers(0, 256, (128, 128, 3), dtype=np.uint8) for key in IMAGE_KEYS}
    action = rng.uniform(-0.4, 0.4, (8, 7)).astype(np.float32)
    return {**pictures, STATE_KEY: rng.uniform(-0.4, 0.4, 8).astype(np.float32), ACTION_KEY: action}


def test_evaluation_is_deterministic_and_training_is_not() -> None:
    sample = make_sample(np.random.default_rng(0))
    transforms = build_transforms(ModelSpec(crop=0.9), stats=make_stats(), augmentation=Augmentation())
    once, twice = apply(transforms, sample), apply(transforms, sample)
    for key in (*IMAGE_KEYS, STATE_KEY, ACTION_KEY):
        np.testing.assert_array_equal(once[key], twice[key])
    first = apply(transforms, sample, rng=np.random.default_rng(1))
    again = apply(transforms, sample, rng=np.random.default_rng(1))
    other = apply(transforms, sample, rng=np.random.default_rng(2))
    np.testing.assert_array_equal(first[IMAGE_KEY], again[IMAGE_KEY])
    assert not np.array_equal(first[IMAGE_KEY], other[IMAGE_KEY])
    assert not np.array_equal(first[STATE_KEY], other[STATE_KEY])
    np.testing.assert_array_equal(first[ACTION_KEY], other[ACTION_KEY])


def test_serving_uses_the_training_pictures_without_augmentation() -> None:
    """Augmentation strengths must change nothing once no generator is given: training and serving share the list."""
    sample = make_sample(np.random.default_rng(0))
    strong = Augmentation(brightness=0.9, contrast=0.9, state_noise=1.0)
    trained = apply(build_transforms(ModelSpec(crop=0.9), stats=make_stats(), augmentation=strong), sample)
    served = apply(build_transforms(ModelSpec(crop=0.9), stats=make_stats()), sample)
    np.testing.assert_array_equal(trained[WRIST_IMAGE_KEY], served[WRIST_IMAGE_KEY])
    np.testing.assert_array_equal(trained[STATE_KEY], served[STATE_KEY])


def test_centre_crop_is_the_mean_of_the_random_crops() -> None:
    ramp = np.broadcast_to(np.arange(128, dtype=np.uint8)[None, :, None], (128, 128, 3))
    crop = CropResize(keys=(IMAGE_KEY,), size=112, fraction=0.875)
    centre = crop({IMAGE_KEY: ramp}, None)[IMAGE_KEY]
    assert centre.shape == (112, 112, 3)
    assert centre[0, 0, 0] == 8  # a picture's border of 8 columns is cut
    assert centre[0, -1, 0] == 119
    rng = np.random.default_rng(0)
    corners = [int(crop({IMAGE_KEY: ramp}, rng)[IMAGE_KEY][0, 0, 0]) for _ in range(300)]
    assert min(corners) <= 1
    assert max(corners) >= 15
    assert abs(np.mean(corners) - 8) < 1


def test_actions_come_back_and_the_gripper_is_left_alone() -> None:
    spec, stats = ModelSpec(), make_stats()
    sample = make_sample(np.random.default_rng(0))
    normalised = apply(build_transforms(spec, stats=stats), sample)[ACTION_KEY]
    np.testing.assert_array_equal(normalised[:, 6], sample[ACTION_KEY][:, 6])
    assert not np.allclose(normalised[:, 0], sample[ACTION_KEY][:, 0])
    np.testing.assert_allclose(
        action_normalizer(spec, stats=stats).denormalize(normalised), sample[ACTION_KEY], atol=1e-5
    )


def test_statistics_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match="6 wide, expected 7"):
        build_transforms(ModelSpec(), stats=make_stats(action=6))


def test_the_state_is_withheld_from_a_share_of_the_training_samples_only() -> None:
    sample = make_sample(np.random.default_rng(0))
    augmentation = Augmentation(state_noise=0.0, state_dropout=0.3)
    transforms = build_transforms(ModelSpec(), stats=make_stats(), augmentation=augmentation)
    rng = np.random.default_rng(0)
    seen = [apply(transforms, sample, rng=rng) for _ in range(400)]
    withheld = [not trained[STATE_KEY].any() for trained in seen]
    assert 0.22 < np.mean(withheld) < 0.38
    served = apply(transforms, sample)
    assert served[STATE_KEY].any()
    for trained, empty in zip(seen, withheld, strict=True):
        np.testing.assert_array_equal(trained[STATE_KEY], 0 if empty else served[STATE_KEY])
        np.testing.assert_array_equal(trained[ACTION_KEY], served[ACTION_KEY])


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_a_state_dropout_that_is_no_share_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match=f"state_dropout {share} is outside 0 to 1"):
        Augmentation(state_dropout=share)
