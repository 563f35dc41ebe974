"""From LeRobot's settings and data to what the policy is (`ModelSpec`), and back. Letters: S state, A action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lerobot.configs import FeatureType, PolicyFeature

from vst_vla.policies.lerobot.configuration_vst_vla import VstVlaConfig
from vst_vla.vla.contracts import ACTION_KEY, GRIPPER, LIBERO_ACTION, LIBERO_STATE, STATE_KEY, ActionSpec, StateSpec
from vst_vla.vla.normalize import FeatureStats, NormStats
from vst_vla.vla.spec import ModelSpec

Statistics = Mapping[str, Mapping[str, Any]]


def statistics_of(dataset_stats: Statistics) -> NormStats:
    """LeRobot's statistics of a dataset as ours. Raises ValueError where q01, q99 or another is missing."""
    wanted = [key for key in (STATE_KEY, ACTION_KEY) if key in dataset_stats]
    return NormStats({key: FeatureStats.from_mapping(dataset_stats[key], key=key) for key in wanted})


def spec_of(config: VstVlaConfig, *, features: Mapping[str, Mapping[str, Any]], stats: NormStats) -> ModelSpec:
    """What a fresh policy is.

    Args:
        config: LeRobot's settings, its features filled in.
        features: the dataset's, for the names of its columns.
        stats: the dataset's statistics.

    Raises:
        ValueError: features that do not fit the conventions.
    """
    config.validate_features()
    state, action = _conventions(config, features, stats)
    spec = ModelSpec(
        head=config.head_config,
        state=state,
        action=action,
        image_keys=tuple(config.image_features),
        image_size=config.image_size,
        crop=config.crop,
        backbone=config.backbone,
        recipe="lerobot",
    )
    _check_widths(spec, stats)
    return spec


def config_of(spec: ModelSpec, *, device: str) -> VstVlaConfig:
    """LeRobot's settings of a policy that exists. Raises ValueError for one without a state, or with image history."""
    options = {key: value for key, value in spec.head.items() if key not in {"name", "chunk"}}
    if spec.state is None:
        raise ValueError("the policy has no state, which LeRobot's plug-in passes on: train one with recipe.state=true")
    _refuse_history(spec)
    return VstVlaConfig(
        device=device,
        push_to_hub=False,
        backbone=spec.backbone,
        head=str(spec.head["name"]),
        head_options=options,
        chunk_size=spec.chunk,
        n_action_steps=spec.chunk,
        image_size=spec.image_size,
        crop=spec.crop,
        conventions="libero" if spec.action == LIBERO_ACTION else "recorded",
        input_features={
            **dict.fromkeys(spec.image_keys, PolicyFeature(FeatureType.VISUAL, (3, spec.image_size, spec.image_size))),
            STATE_KEY: PolicyFeature(FeatureType.STATE, (spec.state.dim,)),
        },
        output_features={ACTION_KEY: PolicyFeature(FeatureType.ACTION, (spec.action.dim,))},
    )


def require_agreement(config: VstVlaConfig, spec: ModelSpec) -> None:
    """Raises ValueError naming the first setting in which LeRobot's configuration and the checkpoint differ."""
    _refuse_history(spec)
    pairs = {
        "head": (config.head_config, dict(spec.head)),
        "image_size": (config.image_size, spec.image_size),
        "crop": (config.crop, spec.crop),
    }
    for name, (ours, theirs) in pairs.items():
        if ours != theirs:
            raise ValueError(f"{name} is {ours}, the checkpoint has {theirs}: leave the option out, or train anew")
    missing = [key for key in spec.image_keys if key not in config.image_features]
    if missing:
        found = ", ".join(config.image_features) or "none"
        raise ValueError(f"the policy looks at {', '.join(missing)}, found pictures {found}: use --rename_map")


def _refuse_history(spec: ModelSpec) -> None:
    """LeRobot's programs hand over the present observation only."""
    if spec.history:
        raise ValueError(
            f"the policy looks back ({list(spec.history)} control steps), LeRobot's plug-in does not: run it with "
            "`vst-vla serve`, protocol=lerobot for LeRobot's robots, or train one with recipe.history=null"
        )


def _conventions(
    config: VstVlaConfig, features: Mapping[str, Mapping[str, Any]], stats: NormStats
) -> tuple[StateSpec, ActionSpec]:
    if config.conventions == "libero":
        return LIBERO_STATE, LIBERO_ACTION
    state, action = _names(features, STATE_KEY), _names(features, ACTION_KEY)
    values = stats.require(ACTION_KEY, dim=len(action))
    return StateSpec(names=state, rotation="as recorded"), ActionSpec(
        names=tuple(_not_a_command(name) for name in action),
        low=min(values.min),
        high=max(values.max),
        frame="as recorded",
        rotation="as recorded",
        gripper="as recorded",
    )


def _names(features: Mapping[str, Mapping[str, Any]], key: str) -> tuple[str, ...]:
    """The names of a feature's columns; numbered where the dataset has none."""
    names: Any = features[key].get("names")
    if isinstance(names, Mapping):  # older datasets: {"motors": [...]}
        names = next(iter(names.values()), None)
    width = int(features[key]["shape"][0])
    if isinstance(names, Sequence) and len(names) == width:
        return tuple(str(name) for name in names)
    return tuple(f"{key.rpartition('.')[2]}_{number}" for number in range(width))


def _not_a_command(name: str) -> str:
    """A recorded gripper is a position to be normalised, not LIBERO's command of -1 or +1, which is left as it is."""
    return f"{name}_position" if name == GRIPPER else name


def _check_widths(spec: ModelSpec, stats: NormStats) -> None:
    try:
        spec.check(stats)
    except ValueError as error:
        raise ValueError(f"{error}; for another robot than LIBERO's, set --policy.conventions=recorded") from error
