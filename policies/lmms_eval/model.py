"""The chat model that lmms-eval drives: a backbone that answers greedily, its reasoning put aside.

Imported by lmms-eval alone, so lmms-eval is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import batched
from typing import Any

import torch
from accelerate import Accelerator
from lmms_eval.api.model import lmms

from vst_vla.policies.lmms_eval.chat import to_question
from vst_vla.vla.answering import Answerer
from vst_vla.vla.backbone import load_backbone
from vst_vla.vla.prompt import split_reply

MAX_NEW_TOKENS = 128
"""Of a task that gives none, as lmms-eval's own Qwen2.5-VL."""


class VstVla(lmms):
    """`--model vst_vla`. Tasks whose settings ask for sampling are answered greedily too; stop words are not looked at.

    Args:
        pretrained: a backbone's folder, a released name such as vst-3b-sft, or tiny.
        batch_size: questions at once.
        device: such as cpu or cuda; None takes Accelerate's, one GPU a process.
        thinking: ask for `<think>…</think>` first. It is cut off before a task sees the reply, always.
        max_new_tokens: longest reply; None takes each task's own, which leaves no room for reasoning.
        max_pixels: budget of a picture.
        num_frames: pictures that a video becomes, at most.

    Raises:
        ValueError: as `load_backbone`, or thinking without room for it.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str,
        *,
        batch_size: int | str = 1,
        device: str | None = None,
        thinking: bool = False,
        max_new_tokens: int | None = None,
        max_pixels: int = 3_211_264,
        num_frames: int = 32,
    ) -> None:
        super().__init__()
        if thinking and max_new_tokens is None:
            raise ValueError("thinking=True needs room beyond the tasks' own limits: give max_new_tokens=2048")
        self.accelerator = Accelerator()  # lmms-eval gathers and waits through it when there are several processes
        self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
        self.device = torch.device(device) if device else self.accelerator.device
        self.batch_size_per_gpu = int(batch_size)
        self._backbone = load_backbone(pretrained)
        self._backbone.model.to(self.device)  # type: ignore[arg-type]
        self._thinking, self._max_new_tokens, self._max_pixels = thinking, max_new_tokens, max_pixels
        self._num_frames = num_frames

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """One answer a request, in their order, without its reasoning.

        A request's `args` are (context, doc_to_messages, settings, document, task, split).
        """
        answers: dict[int, str] = {}
        by_length: dict[int, list[int]] = {}
        for place, request in enumerate(requests):
            by_length.setdefault(self._length(request.args[2]), []).append(place)
        for length, places in by_length.items():
            answerer = Answerer(
                self._backbone, thinking=self._thinking, max_new_tokens=length, max_pixels=self._max_pixels
            )
            for group in batched(places, self.batch_size_per_gpu):
                replies = answerer.answer([self._question(requests[place]) for place in group])
                answers |= zip(group, (split_reply(reply).answer for reply in replies), strict=True)
        for place, request in enumerate(requests):
            self.cache_hook.add_partial("generate_until", (request.args[0], request.args[2]), answers[place])
        return [answers[place] for place in range(len(requests))]

    def _length(self, settings: dict[str, Any]) -> int:
        return int(self._max_new_tokens or settings.get("max_new_tokens") or MAX_NEW_TOKENS)

    def _question(self, request: Any) -> Any:
        _, doc_to_messages, _, document, task, split = request.args
        messages = doc_to_messages(self.task_dict[task][split][document])
        return to_question(messages, name=f"{task}-{document}", num_frames=self._num_frames)

    def clean(self) -> None:
        """Lets go of the backbone when all is answered: lmms-eval may start a judge on the same GPU next."""
        self.__dict__.pop("_backbone", None)
        super().clean()

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Not offered. Raises NotImplementedError."""
        raise NotImplementedError("vst_vla answers questions and gives no likelihoods: choose a task that generates")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list[str]:
        """Not offered. Raises NotImplementedError."""
        raise NotImplementedError("vst_vla answers single questions: choose a task of one round")
