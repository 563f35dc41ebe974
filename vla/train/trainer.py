"""The one training loop: transformers' Trainer with this package's loss, parameter groups and checkpoints.

Spatial tuning, co-trained policies and later stages all run through it; Accelerate underneath gives mixed precision,
several GPUs, FSDP and resuming. A step's loss on conversations is the mean over all tokens that are to be predicted in
it, weighted by `Recipe.reply_balance`, however they are divided into micro-batches and processes.
"""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import gather_object
from safetensors import SafetensorError
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer

from vst_vla.vla.data.collate import Batch
from vst_vla.vla.data.parcel import Parcel, pack
from vst_vla.vla.prompt import IGNORED
from vst_vla.vla.train.average import keep_average
from vst_vla.vla.train.optimizer import ADAMW, make_optimizer, parameter_groups

STATE_FILE = "trainer_state.json"
PARCEL = "parcel"  # Trainer wants a mapping


class VLATrainer(Trainer):
    """Trainer over `mixture.StepBatches`: one dataset item is what a process computes at once, keyed by source.

    Args:
        weights: factor on each loss, by its name; 1 where not given.
        vision_lr_ratio: learning rate of the vision tower over that of everything else (VST trains with 0.1).
        optimizer: one of `optimizer.OPTIMIZERS`.
        ema: decay of the weights' average (`train.average`), 0 for none.
        kwargs: transformers.Trainer's own.
    """

    def __init__(
        self,
        *,
        weights: Mapping[str, float],
        vision_lr_ratio: float = 0.1,
        optimizer: str = ADAMW,
        ema: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._weights = dict(weights)
        self._vision_lr_ratio, self._optimizer_name, self._ema = vision_lr_ratio, optimizer, ema
        self._metrics: dict[str, list[torch.Tensor]] = defaultdict(list)
        self.model_accepts_loss_kwargs = False

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Parcel],
        return_outputs: bool = False,  # noqa: FBT001, FBT002 - transformers' signature
        num_items_in_batch: Any = None,
    ) -> Any:
        """Weighted sum of all losses: every source's, and what else the model teaches; their metrics go to the log.

        `num_items_in_batch` is what `get_batch_samples` counted.
        """
        total = torch.zeros((), device=self.args.device)
        batches = inputs[PARCEL].unpack()
        for name, output in model(batches=batches).items():
            counted = num_items_in_batch is not None and name in batches
            share = self._share(batches[name], num_items_in_batch) if counted else 1.0
            total = total + self._weights.get(name, 1.0) * share * output["loss"]
            for key, value in output.items():
                self._metrics[f"{name}/{key}"].append(share * value.detach())
        return (total, {}) if return_outputs else total

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple[list, Any]:
        """A step's items, and how many tokens of conversations all its processes predict; None for a single item."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if len(samples) * self.accelerator.num_processes == 1:
            return samples, None
        batches = [batch for sample in samples for batch in sample[PARCEL].unpack().values()]
        count = sum((_num_targets(batch) for batch in batches), torch.zeros((), dtype=torch.long)).to(device)
        return samples, self.accelerator.reduce(count, reduction="sum")

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the mean of every source's metrics since the last line; stops the run when the loss is not a number."""
        logs |= self._means()
        self._refuse_nan(logs)
        self._metrics.clear()
        super().log(logs, start_time)

    def _means(self) -> dict[str, float]:
        """Every source's metrics, over the processes too, of which some may have had no batch with a lesson."""
        keys = sorted({key for known in gather_object([list(self._metrics)]) for key in known})
        if not keys:
            return {}
        device = self.args.device
        found = [torch.stack([v.float() for v in self._metrics.get(key, ())] or [torch.zeros(0)]) for key in keys]
        sums = [torch.stack([each.sum(), torch.tensor(float(each.numel()))]).to(device) for each in found]
        totals = self.accelerator.reduce(torch.stack(sums), reduction="sum")
        return {key: round(mean, 5) for key, mean in zip(keys, (totals[:, 0] / totals[:, 1]).tolist(), strict=True)}

    def _refuse_nan(self, values: Mapping[str, float]) -> None:
        if any(value != value for value in values.values()):
            bad = ", ".join(key for key, value in values.items() if value != value)
            raise ValueError(
                f"{bad} is not a number, first {self._first_bad()}: lower the learning rate, or look at what that step "
                f"learnt from; '{self.args.output_dir}' keeps the last good checkpoint"
            )

    def _first_bad(self) -> str:
        """In which step a metric of this process was first no number, and what its batch held."""
        calls = max(map(len, self._metrics.values()), default=0)
        kept = [values for values in self._metrics.values() if len(values) == calls]  # lessons may miss some batches
        values = torch.stack([torch.stack([v.float() for v in each]) for each in kept])
        bad = values.isnan().any(dim=0).nonzero()
        if not len(bad):
            return f"by step {self.state.global_step}"
        processes, passes = self.accelerator.num_processes, self.args.gradient_accumulation_steps
        call = self.state.global_step * passes - values.shape[1] + int(bad[0])  # one a pass, since the run's first
        item = call * processes + self.accelerator.process_index
        return f"in step {call // passes + 1} ({self.train_dataset.told(item)})"

    def _share(self, batch: Batch, num_targets: torch.Tensor) -> torch.Tensor | float:
        """What makes a mean over this batch, averaged over items and processes, one over the whole step's tokens."""
        if "slot_mask" in batch:
            return 1.0
        num_batches = self.current_gradient_accumulation_steps * self.accelerator.num_processes
        return _num_targets(batch) * num_batches / num_targets

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """The recipe's optimizer over groups: vision tower or not, decayed or not, a block's matrix or not."""
        if self.optimizer is None:  # type: ignore[has-type]
            groups = parameter_groups(
                self.model,
                learning_rate=self.args.learning_rate,
                vision_lr_ratio=self._vision_lr_ratio,
                weight_decay=self.args.weight_decay,
            )
            betas = (self.args.adam_beta1, self.args.adam_beta2)
            self.optimizer = make_optimizer(groups, name=self._optimizer_name, betas=betas, eps=self.args.adam_epsilon)
            if self._ema:
                keep_average(self.optimizer, decay=self._ema)
        return self.optimizer

    @property
    def inner_optimizer(self) -> torch.optim.Optimizer:
        """The optimizer itself, out of Accelerate's wrapping."""
        return getattr(self.optimizer, "optimizer", self.optimizer)

    def get_train_dataloader(self) -> DataLoader:
        """In order, one item a step: the dataset itself shuffles, so that a resumed run meets the same batches."""
        loader = DataLoader(
            self.train_dataset,
            batch_size=1,
            shuffle=False,
            collate_fn=_packed,
            num_workers=self.args.dataloader_num_workers,
            persistent_workers=self.args.dataloader_num_workers > 0,
            prefetch_factor=4 if self.args.dataloader_num_workers else None,
        )
        return self.accelerator.prepare(loader)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Names the folder and the way on when the disk refuses; safetensors and torch raise errors of their own."""
        self._refuse_nan(self._means())
        try:
            super()._save_checkpoint(model, trial)
        except (OSError, RuntimeError, SafetensorError) as error:
            reason = str(error).splitlines()[0]
            raise OSError(
                f"cannot write a checkpoint into '{self.args.output_dir}' ({reason}): free some disk space and give "
                "the same command again; it goes on from the last whole checkpoint"
            ) from error

    def _save(self, output_dir: str | None = None, state_dict: dict[str, torch.Tensor] | None = None) -> None:
        """Tied weights are stored once: safetensors refuses two names for one tensor."""
        super()._save(output_dir, state_dict=_without_aliases(state_dict or self.model.state_dict()))

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """A checkpoint of ours lacks nothing but the second names of tied weights."""
        aliases = self.model.state_dict().keys() - _without_aliases(self.model.state_dict()).keys()
        wrong = set(load_result.unexpected_keys) | (set(load_result.missing_keys) - aliases)
        if wrong:
            raise ValueError(
                f"the run's checkpoint does not fit this model, first at '{min(wrong)}': start another run"
            )


def latest_checkpoint(folder: Path) -> Path | None:
    """The newest complete checkpoint of a run; half-written ones, from a kill or a full disk, are removed."""
    complete = []
    for path in folder.glob("checkpoint-*"):
        if _is_complete(path):
            complete.append(path)
        else:
            shutil.rmtree(path)
    return max(complete, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def _is_complete(checkpoint: Path) -> bool:
    """Trainer writes its state file last: a checkpoint whose state reads back is whole."""
    try:
        return bool(json.loads((checkpoint / STATE_FILE).read_text())["global_step"])
    except (OSError, ValueError, KeyError):
        return False


def _num_targets(batch: Batch) -> torch.Tensor:
    """How many tokens are to be predicted, by weight where they have one; none in a robot batch."""
    if "target_weights" in batch:
        return batch["target_weights"].sum()
    targets: torch.Tensor = batch["labels"] != IGNORED
    return targets.sum()


def _packed(items: list[dict[str, Batch]]) -> dict[str, Parcel]:
    (item,) = items
    return {PARCEL: pack(item)}


def _without_aliases(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    kept, seen = {}, set()
    for name, tensor in state.items():
        if tensor.data_ptr() not in seen or tensor.numel() == 0:
            seen.add(tensor.data_ptr())
            kept[name] = tensor.contiguous()
    return kept
