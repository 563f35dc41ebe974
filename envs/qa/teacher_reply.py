"""What a teacher's reply is worth: right, wrong, not in the form that was asked for, or of no use to a student."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vst_vla.envs.qa.base import QAItem

RIGHT, WRONG, MALFORMED, LEAKED = "right", "wrong", "malformed", "speaks of the map"
TIMED_OUT, NO_REPLY = "timed out", "no reply"

_FORM = re.compile(r"\s*<think>((?:(?!</?think>).)+)</think>((?:(?!</?think>).)+)", re.DOTALL)
_LEAK = re.compile(
    r"bird'?s?.?eye|(?:top.?down|overhead) (?:view|map|drawing)|scale bar|list of (?:places|objects)|object list",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a reply is worth; its thought, if it is right."""

    kind: str
    thought: str = ""

    @property
    def is_reply(self) -> bool:
        """Whether the teacher said anything."""
        return self.kind not in (TIMED_OUT, NO_REPLY)


def judge(text: str, *, item: QAItem) -> Verdict:
    """Compares a reply with the item's truth.

    A reply needs one thought in its tags, then the answer. A thought that mentions the bird's-eye view is of no use,
    since the student never sees it.
    """
    form = _FORM.fullmatch(text)
    if form is None or not form[1].strip() or not form[2].strip():
        return Verdict(kind=MALFORMED)
    if not _agrees(form[2], item):
        return Verdict(kind=WRONG)
    if _LEAK.search(form[1]):
        return Verdict(kind=LEAKED)
    return Verdict(kind=RIGHT, thought=form[1].strip())


def _agrees(answer: str, item: QAItem) -> bool:
    """Whether an answer says the truth: the same words; for options, the letter, with or without its text."""
    truth = _plain(item.answer.rpartition("</think>")[2])
    accepted = {truth, f"({truth})"}
    if _plain(item.words) != truth:
        accepted |= {f"{truth}{mark} {_plain(item.words)}" for mark in ("", ".", ")", ":", ",")}
    return _plain(answer) in accepted


def _plain(text: str) -> str:
    return " ".join(text.split()).strip("*`. ").casefold()
