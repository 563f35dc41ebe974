"""A trained vision-language-action model as a policy. Letters: B batch, C chunk, A action."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vst_vla.policies.picture_memory import PictureMemory
from vst_vla.vla.contracts import MOMENT_KEY, ActionSpec, Array, Moment, Observation, StateSpec, unknown_name
from vst_vla.vla.fast.path import FastPath
from vst_vla.vla.inference import InferencePipeline
from vst_vla.vla.model import VLAModel

DTYPES = ("auto", "float32", "bfloat16")
HASHED_FILES = ("*.safetensors", "config.json", "norm_stats.json", "vst_vla.json", "action_tokenizer/*.json")


class VLAPolicy:
    """Acts with a checkpoint folder, through the transforms and statistics that are stored in it.

    Stateless: a reply depends on its observation alone, so one policy serves many episodes at once. A batch may differ
    from single calls by rounding (about 1e-6 in float32). On the CPU all of torch's threads are used: the workers of a
    rollout wait while the policy infers.

    One with image history (`history`) wants past pictures in its observations. Where an observation has none but says
    its `Moment`, it is given those of its slot's earlier ones (`picture_memory`).

    Args:
        folder: a checkpoint that `vst-vla train` wrote with a head.
        device: a torch device, or "auto" for the GPU where there is one.
        replan: actions kept of every predicted chunk, None for all.
        head: options of the head to change for acting, such as {"steps": 4} of `flow`.
        dtype: one of `DTYPES`, of the backbone's weights; "auto" for the checkpoint's own.
        quantize: one of `quantize.QUANTIZATIONS`, for the memory of a smaller card; None for weights as they are.

    Raises:
        ValueError: for a folder that holds no policy, a `replan` outside the chunk, a device that is not there, too
            small or without that quantisation, another `dtype`, or a head that is not the checkpoint's.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        device: str = "auto",
        replan: int | None = None,
        head: Mapping[str, Any] | None = None,
        dtype: str = "auto",
        quantize: str | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise unknown_name("policy.dtype", dtype, DTYPES)
        model = VLAModel.load(folder, device=choose_device(device), head=head, dtype=dtype, quantization=quantize)
        assert model.spec is not None  # load refuses a folder without one
        if replan is not None and not 1 <= replan <= model.spec.chunk:
            raise ValueError(
                f"replan is {replan}, expected 1 to {model.spec.chunk}, the actions that '{folder}' predicts"
            )
        self.action_spec: ActionSpec = model.spec.action
        self.state_spec: StateSpec | None = model.spec.state
        self.image_keys: tuple[str, ...] = model.spec.image_keys
        self.history: tuple[int, ...] = model.spec.history
        self.reads_moment = bool(self.history)
        self._memories = defaultdict[int, PictureMemory](self._new_memory)  # by slot
        self.chunk: int = replan or model.spec.chunk
        # Records of episodes name it: those of other weights must not be taken for this policy's.
        self.checkpoint = checkpoint_hash(Path(folder)) + (f"+{quantize}" if quantize else "")
        self._pipeline = InferencePipeline(model)
        self._path = FastPath(model, pipeline=self._pipeline)
        self.inpaints = self._pipeline.inpaints

    def infer(self, observation: Observation) -> dict[str, Array]:
        """One observation -> {"actions": (C, A) float32} in physical units."""
        return self.infer_batch([observation])[0]

    def infer_batch(self, observations: Sequence[Observation]) -> list[dict[str, Array]]:
        """B observations in one forward pass. Chunks continue `committed_actions` where the head `inpaints`.

        Raises:
            ValueError: for an observation that lacks what the model looks at, or commits a head that cannot continue.
        """
        predicted = self._path.predict([self._with_history(observation) for observation in observations])
        return [{"actions": chunk[: self.chunk]} for chunk in self._pipeline.actions(predicted)]

    def reset(self) -> None:
        """Forgets every episode's pictures."""
        self._memories.clear()

    def _with_history(self, observation: Observation) -> Observation:
        moment: Moment | None = observation.get(MOMENT_KEY)
        if not self.history or moment is None:
            return observation
        return self._memories[moment.slot].complete(observation, step=moment.step)

    def _new_memory(self) -> PictureMemory:
        return PictureMemory(self.image_keys, history=self.history)


def choose_device(name: str) -> torch.device:
    """The device of that name, "auto" for the GPU where there is one. Raises ValueError for one that is not there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ValueError(f"unknown device '{name}': expected auto, cpu, cuda or cuda:N") from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"no device '{name}' here, {torch.cuda.device_count()} GPUs found: use device=cpu or auto")
    return device


def checkpoint_hash(folder: Path) -> str:
    """The first 12 hex digits of a SHA-256 over the names and contents of the files that decide what a policy does."""
    total = hashlib.sha256()
    for path in sorted({path for pattern in HASHED_FILES for path in folder.glob(pattern)}):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        total.update(f"{path.name} {content}\n".encode())
    return total.hexdigest()[:12]
