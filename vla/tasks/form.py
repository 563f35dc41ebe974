"""Whether a reply has the form that its prompt asked for."""

from __future__ import annotations

from vst_vla.vla.prompt import split_reply

OPENING, CLOSING = "<think>", "</think>"


def is_well_formed(reply: str, *, thinking: bool) -> bool:
    """One reasoning block and an answer after it, as VST's format reward asks (https://github.com/Yangr116/VST).

    Without `thinking` the block may be missing; a block that is there must still be the only one, and closed.
    """
    counts = reply.count(OPENING), reply.count(CLOSING)
    has_block = counts == (1, 1) and reply.index(OPENING) < reply.index(CLOSING)
    may_be_without = not thinking and counts == (0, 0)
    return (has_block or may_be_without) and bool(split_reply(reply).answer)
