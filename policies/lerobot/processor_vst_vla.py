"""LeRobot's processors around the policy: rename, batch, device; normalisation is the policy's own."""

from __future__ import annotations

from typing import Any

from lerobot.processor import PolicyAction, PolicyProcessorPipeline, make_default_pre_post_processors

from vst_vla.policies.lerobot.configuration_vst_vla import VstVlaConfig

Pipelines = tuple[
    PolicyProcessorPipeline[dict[str, Any], dict[str, Any]], PolicyProcessorPipeline[PolicyAction, PolicyAction]
]


def make_vst_vla_pre_post_processors(
    config: VstVlaConfig, dataset_stats: dict[str, dict[str, Any]] | None = None
) -> Pipelines:
    """LeRobot's standard pair, which its programs expect to find by these step names when they resume or evaluate."""
    pipelines: Pipelines = make_default_pre_post_processors(config, dataset_stats)
    return pipelines
