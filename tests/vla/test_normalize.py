"""The statistics that travel in a checkpoint, and the map that uses them."""

import numpy as np
import pytest
import torch

from vst_vla.vla.normalize import FeatureStats, Normalizer, NormStats


def _stats(dim: int = 3) -> FeatureStats:
    ramp = np.arange(1.0, dim + 1)
    values = {"mean": ramp, "std": ramp / 4, "min": -ramp, "max": 3 * ramp, "q01": -ramp / 2, "q99": 2 * ramp}
    return FeatureStats.from_mapping(values, key="action")


def test_quantiles_map_to_the_unit_range():
    stats = _stats()
    normalizer = Normalizer(stats)
    np.testing.assert_allclose(normalizer.normalize(np.array(stats.q01, np.float32)), -1, atol=1e-5)
    np.testing.assert_allclose(normalizer.normalize(np.array(stats.q99, np.float32)), 1, atol=1e-5)


@pytest.mark.parametrize("mode", ["quantile", "min_max", "mean_std", "none"])
def test_every_mode_is_invertible(mode):
    normalizer = Normalizer(_stats(), mode=mode)
    value = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32) * 10
    np.testing.assert_allclose(normalizer.denormalize(normalizer.normalize(value)), value, atol=1e-5)


def test_numpy_and_torch_agree():
    normalizer = Normalizer(_stats(), keep=(2,), clip=1.5)
    value = np.linspace(-9, 9, 12, dtype=np.float32).reshape(4, 3)
    as_tensor = normalizer.normalize(torch.from_numpy(value))
    assert as_tensor.dtype == torch.float32
    np.testing.assert_allclose(as_tensor.numpy(), normalizer.normalize(value), atol=1e-6)
    assert np.abs(normalizer.normalize(value)).max() == 1.5


def test_a_kept_dimension_is_untouched():
    value = np.array([[0.3, 0.2, -1.0]], np.float32)
    assert Normalizer(_stats(), keep=(2,)).normalize(value)[0, 2] == -1.0


def test_a_constant_feature_is_not_blown_up():
    values = {"mean": [0.0], "std": [0.0], "min": [-0.5], "max": [0.5], "q01": [0.0], "q99": [0.0]}
    normalizer = Normalizer(FeatureStats.from_mapping(values, key="action"))
    assert abs(normalizer.normalize(np.array([0.5], np.float32))[0]) < 1.0


def test_json_round_trip(tmp_path):
    stats = NormStats({"action": _stats(7), "observation.state": _stats(8)})
    (tmp_path / "norm_stats.json").write_text(stats.to_json())
    assert NormStats.load(tmp_path / "norm_stats.json") == stats


def test_statistics_of_data_are_exact():
    values = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    stats = NormStats.from_data({"action": values}).features["action"]
    assert stats.dim == 2
    np.testing.assert_allclose(stats.q01, np.quantile(values.astype(np.float64), 0.01, axis=0))
    np.testing.assert_allclose(stats.q99, np.quantile(values.astype(np.float64), 0.99, axis=0))
    np.testing.assert_allclose((stats.mean, stats.std), (values.mean(0), values.std(0)), rtol=1e-4)
    np.testing.assert_array_equal((stats.min, stats.max), (values.min(0), values.max(0)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Normalizer(_stats(), mode="quantiles"), "did you mean 'quantile'"),
        (lambda: Normalizer(_stats(), keep=(3,)), "outside a feature of width 3"),
        (lambda: Normalizer(_stats()).normalize(np.zeros((2, 4))), r"shape \(2, 4\), expected \(..., 3\)"),
        (lambda: NormStats({"action": _stats()}).require("actions", dim=3), "did you mean 'action'"),
        (lambda: NormStats({"action": _stats()}).require("action", dim=7), "3 wide, expected 7"),
        (lambda: NormStats.from_json("{"), "not JSON"),
        (lambda: NormStats.from_json('{"action": 1}'), "must be"),
        (lambda: NormStats.from_json('{"action": {"mean": [1]}}'), "no 'std'"),
        (lambda: NormStats.load("nowhere/norm_stats.json"), "no normalisation statistics"),
    ],
)
def test_bad_input_is_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_nan_in_the_statistics_is_refused():
    raw = {name: [1.0] for name in ("mean", "std", "min", "max", "q01", "q99")} | {"std": [float("nan")]}
    with pytest.raises(ValueError, match="NaN"):
        FeatureStats.from_mapping(raw, key="action")


def test_unequal_widths_are_refused():
    raw = {name: [1.0] for name in ("mean", "std", "min", "max", "q01", "q99")} | {"q99": [1.0, 2.0]}
    with pytest.raises(ValueError, match="unequal widths"):
        FeatureStats.from_mapping(raw, key="action")


def test_a_narrow_dimension_is_not_blown_up() -> None:
    """Below `min_width` the centre stays and the scale is that of the least width; the map is still invertible."""
    stats = FeatureStats(mean=(0.0, 0.0), std=(1.0, 1.0), min=(-1, 0.0), max=(1, 0.02), q01=(-1, 0.0), q99=(1, 0.02))
    normalizer = Normalizer(stats, min_width=0.2)
    values = np.array([[0.5, 0.02], [-1.0, 0.0]], dtype=np.float32)
    normalised = normalizer.normalize(values)
    np.testing.assert_allclose(normalised, [[0.5, 0.1], [-1.0, -0.1]], atol=1e-4)
    np.testing.assert_allclose(normalizer.denormalize(normalised), values, atol=1e-6)
