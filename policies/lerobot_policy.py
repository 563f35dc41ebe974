"""Any policy folder of LeRobot's (ACT, diffusion, SmolVLA, pi0, …) as a policy to evaluate, by LeRobot's own factory.

Letters: B batch, C chunk, A action.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.configs.policies import PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.utils.import_utils import register_third_party_plugins

import vst_vla.policies.lerobot.configuration_vst_vla  # noqa: F401  registers the plug-in's own type
from vst_vla.policies.vla_policy import checkpoint_hash, choose_device
from vst_vla.vla.contracts import (
    ACTION_KEY,
    IMAGE_KEYS,
    LIBERO_ACTION,
    LIBERO_STATE,
    MOMENT_KEY,
    STATE_KEY,
    TASK_KEY,
    ActionSpec,
    Array,
    Moment,
    Observation,
)


class LeRobotPolicy:
    """Acts with a folder that `lerobot-train` wrote, through the processors that are stored in it.

    A policy that predicts chunks from the present observation alone is asked for a chunk at a time. One that remembers
    (several observations, temporal ensembling) sees every control step, as `lerobot-eval` shows them, and each running
    episode has a memory of its own. Actions beyond LIBERO's range are clipped, as LIBERO's controller does it.

    Args:
        folder: `pretrained_model` of a checkpoint.
        image_size: pixels of the pictures that it will be shown.
        device: a torch device, or "auto".
        replan: actions executed of every chunk, None for the policy's `n_action_steps`.

    Raises:
        ValueError: no such folder, inputs that LIBERO does not have or pictures of another size, other actions, or a
            `replan` for a policy that remembers.
    """

    action_spec: ActionSpec = LIBERO_ACTION

    def __init__(self, folder: str | Path, *, image_size: int, device: str = "auto", replan: int | None = None) -> None:
        path = Path(folder).expanduser()
        if not (path / "config.json").is_file():
            raise ValueError(
                f"'{folder}' is no policy folder of LeRobot's: it has no config.json; give pretrained_model"
            )
        register_third_party_plugins()
        config = PreTrainedConfig.from_pretrained(path)
        _require_libero(config, image_size=image_size, folder=path)
        config.device = str(choose_device(device))
        if hasattr(config, "pretrained_backbone_weights"):
            config.pretrained_backbone_weights = None  # the folder has them; nothing is to be downloaded
        ensembles = getattr(config, "temporal_ensemble_coeff", None) is not None
        self.reads_moment = self._remembers = config.n_obs_steps > 1 or ensembles
        if self._remembers and replan not in (None, 1):
            raise ValueError(f"replan is {replan}, but '{folder}' remembers and is asked at every step: leave it out")
        self.chunk: int = 1 if self._remembers else replan or int(config.n_action_steps)
        self.checkpoint = checkpoint_hash(path)
        self._policy: Any = get_policy_class(config.type).from_pretrained(path, config=config)
        self._policy.eval()
        self._before, self._after = make_pre_post_processors(
            config, str(path), preprocessor_overrides={"device_processor": {"device": config.device}}
        )
        self._image_keys = tuple(config.image_features)
        self._memories: dict[int, Any] = {}

    def infer(self, observation: Observation) -> dict[str, Array]:
        """One observation -> {"actions": (C, A) float32}."""
        return self.infer_batch([observation])[0]

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """B observations in one forward pass, or one after another for a policy that remembers."""
        with torch.inference_mode():
            if self._remembers:
                return [{"actions": self._next(observation)} for observation in observations]
            chunks = self._policy.predict_action_chunk(self._batch(observations))
            steps = [self._after(chunks[:, i]) for i in range(min(self.chunk, chunks.shape[1]))]
        stacked = LIBERO_ACTION.clip(torch.stack(steps, dim=1).float().cpu().numpy())
        return [{"actions": chunk} for chunk in stacked]

    def reset(self) -> None:
        """Forgets every episode."""
        self._policy.reset()
        self._memories.clear()

    def _next(self, observation: Observation) -> Array:
        """The next action (1, A) of an episode that has a memory of its own."""
        moment: Moment = observation[MOMENT_KEY]
        if moment.step == 0:
            self._memories[moment.slot] = _with_own_memory(self._policy)
        action = self._after(self._memories[moment.slot].select_action(self._batch([observation])))
        return LIBERO_ACTION.clip(action.float().cpu().numpy())

    def _batch(self, observations: Sequence[Observation]) -> dict[str, Any]:
        batch: dict[str, Any] = {TASK_KEY: [observation[TASK_KEY] for observation in observations]}
        for key in self._image_keys:
            pictures = np.stack([observation[key] for observation in observations])
            batch[key] = torch.from_numpy(pictures).permute(0, 3, 1, 2).contiguous().float() / 255
        batch[STATE_KEY] = torch.from_numpy(np.stack([observation[STATE_KEY] for observation in observations])).float()
        return dict(self._before(batch))


def _with_own_memory(policy: Any) -> Any:
    """The policy with the same weights and empty queues that it shares with no other."""
    made = copy.copy(policy)
    own = {name: value for name, value in vars(made).items() if name not in {"_modules", "_parameters", "_buffers"}}
    vars(made).update(copy.deepcopy(own))
    made.reset()
    return made


def _require_libero(config: Any, *, image_size: int, folder: Path) -> None:
    """What the policy looks at and returns, against what LIBERO has."""
    have = dict.fromkeys(IMAGE_KEYS, (3, image_size, image_size)) | {STATE_KEY: (LIBERO_STATE.dim,)}
    for key, feature in config.input_features.items():
        shape = tuple(feature.shape)
        if key not in have:
            raise ValueError(f"'{folder}' looks at '{key}', LIBERO has {', '.join(have)}: train it on those keys")
        if key in IMAGE_KEYS and shape != have[key]:
            raise ValueError(
                f"'{folder}' looks at pictures of {shape[-1]} px, not {image_size}: set image_size={shape[-1]}"
            )
        if key == STATE_KEY and shape != have[key]:
            raise ValueError(f"'{folder}' reads a state of shape {shape}, LIBERO has {have[key]}")
    action = tuple(config.output_features[ACTION_KEY].shape)
    if action != (LIBERO_ACTION.dim,):
        raise ValueError(f"'{folder}' returns actions of shape {action}, LIBERO takes ({LIBERO_ACTION.dim},)")
