"""In which order things come into view, or the gripper comes closest to them."""

import itertools

from qa_truth.case import Case, apart


def check(case: Case) -> None:
    shown, things, camera = case.shown, case.things, case.camera
    case.named(*things)
    if case.about["form"] == "appear":
        assert "appear" in case.question or "into view" in case.question
        moments = [next(t for t, m in enumerate(shown) if m.pixels(camera, thing)) for thing in things]
    else:
        assert "gripper" in case.question
        gaps = [[apart(moment.middle(thing), moment.grip) for moment in shown] for thing in things]
        moments = [gap.index(min(gap)) for gap in gaps]
        for (one, at_one), (other, at_other) in itertools.combinations(zip(gaps, moments, strict=True), 2):
            assert min(one[at_other] - one[at_one], other[at_one] - other[at_other]) > 0.029
    assert all(a < b for a, b in itertools.pairwise(moments)), f"frames {moments}"
    assert case.told == " then ".join(thing.category for thing in things)
