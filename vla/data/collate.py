"""Samples to model batches: token ids with expanded images, labels, action slots, patches.

A batch holds robot rows or question rows, never both: each kind is padded to its own longest row, so that short robot
prompts do not pay for long answers. One optimiser step sees a batch of each. Questions can be packed into one row
instead, without padding (`vla/packing.py`).
Letters: B batch, L tokens, P patches, N images, S state, C chunk, A action, n samples of a packed row.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from transformers import Qwen2_5_VLProcessor

from vst_vla.vla.contracts import ACTION_IS_PAD_KEY, ACTION_KEY, STATE_KEY, TASK_KEY, Array, geometry_key
from vst_vla.vla.data.labeller import Labeller
from vst_vla.vla.data.names import ClassNames
from vst_vla.vla.data.picture_labels import LabelTable
from vst_vla.vla.prompt import IGNORED, Encoded, encode, record_messages, robot_messages

Batch = dict[str, torch.Tensor]


class Collator:
    """Builds batches for one processor.

    Args:
        processor: the backbone's.
        image_keys: the policy's pictures in prompt order (`ModelSpec.picture_keys`); none for questions alone.
        num_slots: how many tokens the action head asks for at the end of a robot prompt.
        max_tokens: longest row; a longer question is an error naming it.
        reply_balance: 0 to 1; each of the n targets of a conversation counts n^-reply_balance in the loss.
        labels: of what pictures of conversations show; None leaves it out.
        classes: that labels of the robot's pictures number, to be found by name in instructions; none leaves it out.

    Attributes:
        merge: patches of a visual token.
    """

    def __init__(
        self,
        processor: Qwen2_5_VLProcessor,
        *,
        image_keys: Sequence[str] = (),
        num_slots: int = 0,
        max_tokens: int = 4096,
        reply_balance: float = 0.0,
        labels: LabelTable | None = None,
        classes: Sequence[str] = (),
    ) -> None:
        self.processor = processor
        self.image_keys = tuple(image_keys)
        self.num_slots = num_slots
        self.max_tokens = max_tokens
        self.reply_balance = reply_balance
        self._labeller = Labeller(labels, tokenizer=processor.tokenizer) if labels is not None else None
        self._names = ClassNames(classes, tokenizer=processor.tokenizer) if classes else None
        self.merge = int(processor.image_processor.merge_size) ** 2
        self._robot_prompt = lru_cache(maxsize=4096)(self._encode_robot)
        self._robot_names = lru_cache(maxsize=4096)(self._find_names)

    def robot(self, samples: Sequence[dict[str, Any]]) -> Batch:
        """Transformed robot samples -> batch: slot_mask, state (B,S), cells, actions (B,C,A), action_is_pad (B,C).

        With classes, also `named` (M,2): each name's place among the batch's B*L token ids, and its class.
        """
        pictures = [sample[key] for sample in samples for key in self.image_keys]
        batch, counts = self._pictures(pictures)
        per_row = np.reshape(counts, (len(samples), -1))
        batch |= self.prompts([sample[TASK_KEY] for sample in samples], counts=per_row.tolist())
        if STATE_KEY in samples[0]:
            batch["state"] = torch.from_numpy(np.stack([sample[STATE_KEY] for sample in samples]))
        if geometry_key(self.image_keys[0]) in samples[0]:
            labels = [[sample[geometry_key(key)] for key in self.image_keys] for sample in samples]
            batch["cells"] = torch.from_numpy(np.array(labels))
        if ACTION_KEY in samples[0]:
            batch["actions"] = torch.from_numpy(np.stack([sample[ACTION_KEY] for sample in samples]))
            batch["action_is_pad"] = torch.from_numpy(np.stack([sample[ACTION_IS_PAD_KEY] for sample in samples]))
        return batch

    def prompts(self, tasks: Sequence[str], *, counts: Sequence[Sequence[int]]) -> Batch:
        """The part of a robot batch that is text, (B,L), for B tasks whose pictures have so many visual tokens each."""
        asked = [(task, tuple(count)) for task, count in zip(tasks, counts, strict=True)]
        padded, slots = self._pad([self._robot_prompt(*each) for each in asked], num_slots=self.num_slots)
        batch = padded | {"slot_mask": slots}
        if self._names is not None:
            starts = slots.shape[1] * np.arange(len(asked))
            found = [
                (start + place, number)
                for start, each in zip(starts.tolist(), asked, strict=True)
                for place, number in self._robot_names(*each)
            ]
            batch["named"] = torch.tensor(found, dtype=torch.int64).reshape(-1, 2)
        return batch

    def questions(self, records: Sequence[dict[str, Any]]) -> Batch:
        """Spatial records, their pictures as arrays of the final size -> batch with labels on the answers.

        Raises:
            ValueError: for a record longer than `max_tokens`, or labels that cannot be read.
        """
        batch, rows = self._encode_records(records)
        batch = self._weighted(batch | self._pad(rows, num_slots=0)[0])
        length = batch["input_ids"].shape[1]
        starts = [length * place for place in range(len(rows))]
        return batch | (self._labeller(records, rows=rows, starts=starts) if self._labeller else {})

    def pack(self, records: Sequence[dict[str, Any]]) -> Batch:
        """The same, one after another in a row: input_ids and labels (1,L), sample_lengths (n,); no padding, no mask.

        Raises:
            ValueError: for a record longer than `max_tokens`, labels that cannot be read, or no record.
        """
        if not records:
            raise ValueError("none of the conversations that share a row can be read: mend the files named in the log")
        batch, rows = self._encode_records(records)
        # A sample's first token would be predicted from its neighbour's last.
        labels = [label for row in rows for label in (IGNORED, *row.labels[1:])]
        batch["input_ids"] = torch.tensor([[token for row in rows for token in row.input_ids]])
        batch["labels"] = torch.tensor([labels])
        lengths = [len(row.input_ids) for row in rows]
        batch["sample_lengths"] = torch.tensor(lengths)
        starts = [sum(lengths[:place]) for place in range(len(rows))]
        return self._weighted(batch) | (self._labeller(records, rows=rows, starts=starts) if self._labeller else {})

    def count_tokens(self, outline: dict[str, Any]) -> int:
        """Length of a record whose pictures are given by their sizes (H, W), see `QuestionRows.outline`."""
        side = int(self.processor.image_processor.patch_size)
        counts = [(height // side) * (width // side) // self.merge for height, width in outline["images"]]
        return len(self._encode(outline, counts).input_ids)

    def _encode_records(self, records: Sequence[dict[str, Any]]) -> tuple[Batch, list[Encoded]]:
        batch, counts = self._pictures([picture for record in records for picture in record["images"]])
        left = iter(counts)
        return batch, [self._encode_record(r, [next(left) for _ in r["images"]]) for r in records]

    def _weighted(self, batch: Batch) -> Batch:
        """The batch with `target_weights` beside its labels, where long and short replies are to be balanced."""
        if not self.reply_balance:
            return batch
        labels = batch["labels"]
        lengths = batch["sample_lengths"].tolist() if "sample_lengths" in batch else [labels.shape[1]]
        parts = (labels != IGNORED).float().split(lengths, dim=1)
        weights = [part * part.sum(1, keepdim=True).clamp(min=1.0) ** -self.reply_balance for part in parts]
        return batch | {"target_weights": torch.cat(weights, dim=1)}

    def _encode_robot(self, task: str, counts: tuple[int, ...]) -> Encoded:
        messages = robot_messages(task, num_images=len(counts))
        return encode(messages, tokenizer=self.processor.tokenizer, image_tokens=counts, add_generation_prompt=True)

    def _find_names(self, task: str, counts: tuple[int, ...]) -> list[tuple[int, int]]:
        assert self._names is not None
        return self._names.in_row(self._robot_prompt(task, counts))

    def _encode_record(self, record: dict[str, Any], counts: list[int]) -> Encoded:
        row = self._encode(record, counts)
        if len(row.input_ids) > self.max_tokens:
            raise ValueError(f"record '{record['id']}' has {len(row.input_ids)} tokens, at most {self.max_tokens} fit")
        return row

    def _encode(self, record: dict[str, Any], counts: list[int]) -> Encoded:
        return encode(record_messages(record), tokenizer=self.processor.tokenizer, image_tokens=counts)

    def _pictures(self, pictures: Sequence[Array]) -> tuple[Batch, list[int]]:
        """Patches (P, 3*2*14*14) and grids (N,3) of pictures already at a multiple of 28 pixels; tokens of each."""
        if not pictures:
            return {}, []
        images = [torch.tensor(p).permute(2, 0, 1) for p in pictures]
        made = self.processor.image_processor(images, do_resize=False, return_tensors="pt")
        counts = (made["image_grid_thw"].prod(dim=1) // self.merge).tolist()
        return {"pixel_values": made["pixel_values"], "image_grid_thw": made["image_grid_thw"]}, counts

    def _pad(self, rows: Sequence[Encoded], *, num_slots: int) -> tuple[Batch, torch.Tensor]:
        """Right-padded ids, mask, labels and modality (B,L), and where the slots are: after each row's own prompt."""
        lengths = [len(row.input_ids) + num_slots for row in rows]
        shape = (len(rows), max(lengths))
        filler = int(self.processor.tokenizer.pad_token_id)
        ids, labels = np.full(shape, filler), np.full(shape, -100)
        mask, modality, slots = np.zeros(shape, np.int64), np.zeros(shape, np.int64), np.zeros(shape, bool)
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            end = length - num_slots
            ids[i, :end], labels[i, :end], modality[i, :end] = row.input_ids, row.labels, row.mm_token_type_ids
            mask[i, :length] = 1
            slots[i, end:length] = True
        batch = {"input_ids": ids, "labels": labels, "attention_mask": mask, "mm_token_type_ids": modality}
        return {key: torch.from_numpy(value) for key, value in batch.items()}, torch.from_numpy(slots)
