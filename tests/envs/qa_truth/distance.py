"""Distances between the middles of boxes, or to the camera."""

import re

from qa_truth.case import Case, apart, close, lens_is_told, metres


def check(case: Case) -> None:
    moment, eye, form = case.moment, case.moment.eye(case.camera), case.about["form"]
    case.named(*case.things)
    places = [moment.middle(thing) for thing in case.things]
    if form in ("apart", "away"):
        assert ("camera" in case.question.replace("camera's", "")) == (form == "away")
        lens_is_told(case, eye)
        close(metres(case.answer), apart(places[0], places[1] if form == "apart" else eye.place))
        assert case.answer.split()[1] == ("cm" if "centimeters" in case.question else "m")
        return
    gaps = {thing.category: apart(place, places[0]) for thing, place in zip(case.things[1:], places[1:], strict=True)}
    far = bool(re.search("farthest|most distant|largest distance", case.question))
    right = gaps.pop(case.told)
    assert all((gap < right) == far and abs(gap - right) > 0.029 for gap in gaps.values())
