"""The policy as LeRobot trains, evaluates and deploys it: our model behind LeRobot's interface.

A saved policy is LeRobot's folder with our checkpoint in it, so that neither side converts weights:

    config.json, policy_preprocessor.json, …   LeRobot's
    vst_vla/                                   what `vst-vla train` writes: `vst-vla rollout checkpoint=…/vst_vla`

Letters: B batch, C chunk, A action.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from lerobot.policies.pretrained import PreTrainedPolicy

from vst_vla.policies.lerobot.batches import TrainingBatches, observations
from vst_vla.policies.lerobot.configuration_vst_vla import VstVlaConfig
from vst_vla.policies.lerobot.spec import Statistics, require_agreement, spec_of, statistics_of
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel
from vst_vla.vla.train.optimizer import parameter_groups
from vst_vla.vla.transforms import Augmentation

CHECKPOINT = "vst_vla"
"""Folder of our checkpoint in LeRobot's."""


class VstVlaPolicy(PreTrainedPolicy):
    """Our model behind LeRobot's interface.

    Args:
        config: the settings, its features filled in.
        model: a model that exists; None makes a fresh one for `dataset_meta`.
        dataset_stats, dataset_meta: LeRobot's statistics and metadata of the data to train on.
        kwargs: what else LeRobot passes; not used.

    Raises:
        ValueError: neither a model nor data, or settings that do not fit them.
    """

    config_class = VstVlaConfig
    name = "vst_vla"

    def __init__(
        self,
        config: VstVlaConfig,
        *,
        model: VLAModel | None = None,
        dataset_stats: Statistics | None = None,
        dataset_meta: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(config)
        self.config = config
        self.model = model or _fresh(config, dataset_stats, dataset_meta)
        assert self.model.spec is not None
        require_agreement(config, self.model.spec)
        augmentation = Augmentation(
            brightness=config.brightness,
            contrast=config.contrast,
            state_noise=config.state_noise,
            state_dropout=config.state_dropout,
        )
        self._batches = TrainingBatches(self.model, augmentation=augmentation)
        self._acting = InferencePipeline(self.model)
        self._queue: deque[torch.Tensor] = deque()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_name_or_path: str | Path,
        *,
        config: VstVlaConfig | None = None,
        dataset_stats: Statistics | None = None,
        revision: str | None = None,
        **kwargs: Any,
    ) -> VstVlaPolicy:
        """A policy that was saved, from a folder or the hub.

        Raises:
            ValueError: no checkpoint there, or settings that do not fit it.
        """
        folder = Path(pretrained_name_or_path)
        if not folder.is_dir():
            folder = Path(snapshot_download(str(pretrained_name_or_path), revision=revision))
        if config is None:
            config = VstVlaConfig.from_pretrained(folder)
        model = VLAModel.load(folder / CHECKPOINT, device=config.device)
        if config.statistics == "dataset" and dataset_stats is not None:
            assert model.spec is not None
            model.norm_stats = statistics_of(dataset_stats)
            model.spec.check(model.norm_stats)
        policy = cls(config, model=model)
        policy.eval()
        return policy

    def _save_pretrained(self, save_directory: Path, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        if state_dict is not None:
            raise ValueError("weights that FSDP gathered are not saved: use DDP, or `vst-vla train`")
        self.config._save_pretrained(save_directory)
        self.model.save(save_directory / CHECKPOINT)

    def get_optim_params(self) -> list[dict[str, Any]]:
        """Parameter groups: vision tower or not, weight decay or not."""
        return parameter_groups(
            self.model,
            learning_rate=self.config.optimizer_lr,
            vision_lr_ratio=self.config.vision_lr_ratio,
            weight_decay=self.config.optimizer_weight_decay,
        )

    def reset(self) -> None:
        """Forgets the chunk that is being executed."""
        self._queue.clear()

    def forward(self, batch: dict[str, Any]) -> tuple[torch.Tensor, dict[str, float]]:
        """The head's loss on a batch of LeRobot's, augmented while training, and numbers to log."""
        inputs = self._batches.make(batch, augment=self.training)
        output = self.model(**{key: value.to(self.model.device) for key, value in inputs.items()})
        return output["loss"], {key: float(value) for key, value in output.items() if key != "loss"}

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Any], **kwargs: Any) -> torch.Tensor:
        """Chunks (B,C,A) float32 in physical units."""
        predicted = self.model.predict(self._acting.inputs(observations(batch, spec=self._acting.spec)))
        chunks = [torch.from_numpy(chunk) for chunk in self._acting.actions(predicted)]
        return torch.stack(chunks).to(self.model.device)

    @torch.no_grad()
    def select_action(self, batch: dict[str, Any], **kwargs: Any) -> torch.Tensor:
        """The next action (B,A) of the chunk; a new one is predicted after `n_action_steps`."""
        if not self._queue:
            chunk = self.predict_action_chunk(batch)[:, : self.config.n_action_steps]
            self._queue.extend(chunk.transpose(0, 1))
        return self._queue.popleft()


def _fresh(config: VstVlaConfig, dataset_stats: Statistics | None, dataset_meta: Any) -> VLAModel:
    if dataset_stats is None or dataset_meta is None:
        raise ValueError("a fresh policy needs a dataset for its statistics: give --policy.path=FOLDER, or train one")
    stats = statistics_of(dataset_stats)
    spec = spec_of(config, features=dataset_meta.features, stats=stats)
    backbone = load_backbone(config.backbone, dtype="bfloat16" if config.dtype == "bfloat16" else "auto")
    return VLAModel(backbone, spec=spec, norm_stats=stats)
