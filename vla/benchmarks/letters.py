"""How benchmarks read an option's letter out of an answer, one function a rule. None: there is no letter.

The reasoning is put aside before (`prompt.split_reply`); rules differ in what they take for the letter.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_KEYWORD = r"(?i:answer|option|choice)"
_OPENING = r"[*\"'(`]*"


def stated_letter(answer: str, *, letters: str) -> str | None:
    """The general rule, of which the first part that finds a letter counts.

    A reply that is a letter; (X); the last "answer is X" or "answer: x"; the first capital that stands alone. A capital
    A before a small word is the article, except before "and", "is" and "or".
    """
    capital = rf"(?!A\s+(?!(?:and|is|or)\b)[a-z])[{letters}]"
    either = f"[{letters}{letters.lower()}]"
    end = r"(?![\w'’])"
    parts = (
        (rf"^\s*({either})[.:)]?\s*$", 0),
        (rf"\(({either})\)", 0),
        (rf"{_KEYWORD}(?:\s+is)?(?:\s*[:=]\s*{_OPENING}({either}){end}(?!\s+[a-z])|\s+{_OPENING}({capital}){end})", -1),
        (rf"(?<![\w'’])({capital}){end}", 0),
    )
    for pattern, place in parts:
        found = list(re.finditer(pattern, answer))
        if found:
            return next(group for group in found[place].groups() if group).upper()
    return None


def first_token(answer: str) -> str:
    """The first word without a final dot: what VSI-Bench compares."""
    words = answer.split()
    return words[0].rstrip(".").strip() if words else ""


def fenced_letter(answer: str, *, letters: str) -> str | None:
    """MMSI-Bench: inside ``double`` then `single` backticks, then {braces}; there, the first capital alone."""
    for pattern in (r"``([^`]*)``", r"`([^`]*)`", r"\{([^}]*)\}"):
        found = re.search(pattern, answer)
        answer = found.group(1) if found else answer
    letter = re.search(rf"\b[{letters}]\b(?!\s[a-zA-Z])", answer)
    return letter.group() if letter else None


def last_dotted_letter(answer: str) -> str | None:
    """MindCube: the last "X."; else the letter in <Answer>; else the last stated one, then any, from the last line."""
    dotted = re.findall(r"([A-E])\.", answer)
    if dotted:
        return str(dotted[-1])
    section = re.search(r"<Answer>(.*?)(?:<|$)", answer, re.DOTALL)
    if section and (inside := re.findall(r"\b([A-E])\b", section.group(1))):
        return str(inside[-1])
    patterns = (r"(?:^|\n)(?:Answer: )?([A-E])(?:$|\s)", r"[*\"]([A-E])[*\"]", r"\bAnswer:?\s*([A-E])\b")
    for pattern in (*patterns, r"answer is ([A-E])"):
        if found := re.findall(pattern, answer):
            return str(found[-1])
    lines = [re.search(r"\b([A-E])\b", line) for line in reversed(answer.splitlines())]
    return next((found.group(1) for found in lines if found), None)


def option_letter(answer: str, *, options: Sequence[str]) -> str | None:
    """SAT: "(X)", else the one option whose text the answer holds, else ":X", else a letter by itself.

    A small letter counts when there is nothing else.
    """
    letters = "ABCDEFGH"[: len(options)]
    bracketed = re.search(rf"\(([{letters}])\)", answer)
    if bracketed:
        return bracketed.group(1)
    held = [letter for letter, option in zip(letters, options, strict=True) if option.lower() in answer.lower()]
    if len(held) == 1:
        return held[0]
    found = (
        re.search(rf":\s*([{letters}])\b", answer)
        or re.match(rf"\s*([{letters}])(?!\w)", answer)
        or re.fullmatch(rf"\W*([{letters}])\W*", answer, re.IGNORECASE)
    )
    return found.group(1).upper() if found else None
