"""Settings of the policy in LeRobot's form: every field is an option `--policy.NAME=…` of LeRobot's programs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lerobot.configs import FeatureType, NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig
from lerobot.optim.schedulers import CosineAnnealingWithWarmupSchedulerConfig

from vst_vla.vla.contracts import unknown_name

CONVENTIONS = ("libero", "recorded")
STATISTICS = ("stored", "dataset")
DTYPES = ("float32", "bfloat16")


@PreTrainedConfig.register_subclass("vst_vla")
@dataclass
class VstVlaConfig(PreTrainedConfig):
    """What the policy is and how it is trained.

    Args:
        backbone: a name (`tiny`, `vst-3b-sft`, ...) or a folder, see `vst_vla.vla.backbone.load_backbone`.
        head: name of the action head.
        head_options: the head's own options, such as `{"init_std": 0.02}`.
        chunk_size: C, actions a prediction.
        n_action_steps: actions of a chunk that are executed before the next prediction.
        image_size: side in pixels of the pictures that the model sees, a multiple of 28.
        crop: share of a picture's side that is kept, at a random place in training, in the centre when acting.
        conventions: `libero` for LIBERO's state (8) and actions (7); `recorded` for any other robot: the names of the
            dataset's columns, actions clipped to the range in the data, all of one unit.
        statistics: of a policy that is trained on from a checkpoint: `stored` in it, or of the new `dataset`.
        dtype: of the weights and the arithmetic, float32 or bfloat16.
        brightness, contrast, state_noise, state_dropout: see `vst_vla.vla.transforms.Augmentation`.
        optimizer_lr: peak learning rate; cosine decay to zero after `warmup_steps` of linear rise.
        vision_lr_ratio: the vision tower's learning rate over that of the rest.
        normalization_mapping: LeRobot's own normalisation, which stays off: the policy normalises by itself, with the
            statistics in its checkpoint.
        discover_packages_path: taken so that LeRobot's programs accept the option beside `--policy.path`; not used.

    Raises:
        ValueError: a value that cannot be.
    """

    backbone: str = "tiny"
    head: str = "parallel"
    head_options: dict[str, Any] = field(default_factory=dict)
    chunk_size: int = 8
    n_action_steps: int = 8
    image_size: int = 112
    crop: float = 0.97
    conventions: str = "libero"
    statistics: str = "stored"
    dtype: str = "float32"
    brightness: float = 0.1
    contrast: float = 0.1
    state_noise: float = 0.01
    state_dropout: float = 0.3
    optimizer_lr: float = 1e-4
    optimizer_weight_decay: float = 0.01
    optimizer_grad_clip_norm: float = 1.0
    vision_lr_ratio: float = 0.1
    warmup_steps: int = 100
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("VISUAL", "STATE", "ACTION"), NormalizationMode.IDENTITY)
    )
    discover_packages_path: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.discover_packages_path = None
        for name, choices in (("conventions", CONVENTIONS), ("statistics", STATISTICS), ("dtype", DTYPES)):
            if getattr(self, name) not in choices:
                raise unknown_name(name, str(getattr(self, name)), choices)
        if not 1 <= self.n_action_steps <= self.chunk_size:
            raise ValueError(f"n_action_steps is {self.n_action_steps}, expected 1 to chunk_size={self.chunk_size}")
        if self.image_size % 28:
            raise ValueError(f"image_size {self.image_size} is no multiple of 28: try {self.image_size // 28 * 28}")
        if any(mode is not NormalizationMode.IDENTITY for mode in self.normalization_mapping.values()):
            raise ValueError("normalization_mapping must be IDENTITY: the policy normalises by itself, leave it out")

    @property
    def head_config(self) -> dict[str, Any]:
        """The action head as `vst_vla.vla.heads.make_head` reads it."""
        return {"name": self.head, "chunk": self.chunk_size, **self.head_options}

    @property
    def observation_delta_indices(self) -> None:
        """Only the present observation."""
        return None

    @property
    def action_delta_indices(self) -> list[int]:
        """The chunk."""
        return list(range(self.chunk_size))

    @property
    def reward_delta_indices(self) -> None:
        """No rewards."""
        return None

    def get_optimizer_preset(self) -> AdamWConfig:
        """AdamW; the parameter groups come from the policy."""
        return AdamWConfig(
            lr=self.optimizer_lr,
            weight_decay=self.optimizer_weight_decay,
            grad_clip_norm=self.optimizer_grad_clip_norm,
        )

    def get_scheduler_preset(self) -> CosineAnnealingWithWarmupSchedulerConfig:
        """Linear rise, cosine decay."""
        return CosineAnnealingWithWarmupSchedulerConfig(num_warmup_steps=self.warmup_steps)

    def validate_features(self) -> None:
        """Raises ValueError unless the data have pictures, a state and actions."""
        has = {feature.type for feature in {**(self.input_features or {}), **(self.output_features or {})}.values()}
        for kind in (FeatureType.VISUAL, FeatureType.STATE, FeatureType.ACTION):
            if kind not in has:
                raise ValueError(f"the data have no feature of type {kind.value}: expected pictures, state and actions")
