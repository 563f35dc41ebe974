"""A length of a thing that a point marks in the first frame, or how far it was carried; in centimetres."""

import re

from qa_truth.case import Case, apart, close, lens_is_told
from qa_truth.measurement import length_holds

WORDS = {
    "moved": "displaced|straight distance|How far",
    "height": "tall|height",
    "longest": "longest|largest",
    "shortest": "shortest|smallest",
}


def check(case: Case) -> None:
    first, last = case.shown[0], case.shown[-1]
    what, (mark,), (thing,) = case.about["what"], case.item.marks, case.things
    lens_is_told(case, first.eye(case.camera))
    assert re.search(WORDS[what], case.question)
    case.point(mark, thing, moment=first, camera=case.camera)
    told = float(case.answer) / 100
    if what == "moved":
        close(told, apart(first.middle(thing), last.middle(thing)))
    else:
        length_holds([thing], first, what, told)
