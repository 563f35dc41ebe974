"""Mathematics: equal expressions, whatever their form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vst_vla.vla.prompt import split_reply
from vst_vla.vla.tasks.base import Task


@dataclass(frozen=True, kw_only=True)
class Maths(Task[list[Any]]):
    """A mathematical expression, in LaTeX or plain.

    1 when `math_verify` (https://github.com/huggingface/Math-Verify), which reads both, finds them equal, as VST does.
    """

    name: ClassVar[str] = "math_score"
    answers: ClassVar[str] = "a number or an expression"

    def parse(self, reply: str) -> list[Any] | None:
        """As math_verify reads the text after the reasoning: boxed, in dollars or plain."""
        return self._read(split_reply(reply).answer)

    def read_truth(self, truth: str) -> list[Any]:
        """The truth as expressions. Raises ValueError when math_verify reads none."""
        answer = self._read(truth) or self._read(f"${truth}$")
        if answer is None:
            raise ValueError(f"'{truth}' is no truth for {self.name}: expected {self.answers}")
        return answer

    def _read(self, text: str) -> list[Any] | None:
        # Without a timeout: its alarm works in the main thread only.
        return _library().parse(text, parsing_timeout=None) or None

    def compare(self, answer: list[Any], *, truth: list[Any]) -> float:
        """1 for equal expressions."""
        return float(bool(_library().verify(truth, answer, timeout_seconds=None)))


def _library() -> Any:
    try:
        import math_verify
    except ImportError as error:
        raise ImportError("answers in mathematics need math_verify: pip install 'vst-vla[rl]'") from error
    return math_verify
