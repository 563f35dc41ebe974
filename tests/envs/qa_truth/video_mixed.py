"""How a video's camera travels, and how far things are from it."""

from qa_truth.case import SPECK, Case, apart, close, lens_is_told
from qa_truth.mi_camera_motion import moved


def check(case: Case) -> None:
    camera, form = case.camera, case.about["form"]
    first, last = (case.shown[place].eye(camera) for place in (0, -1))
    if form == "travel":
        lens_is_told(case, first)
        close(float(case.answer), apart(first.place, last.place))
    elif form == "heading":
        moved(case.told, first, last)
    else:
        frame = case.frame
        case.named(*case.things)
        assert min(frame.pixels(camera, thing) for thing in case.things) > SPECK
        far = {thing.category: apart(frame.middle(thing), frame.eye(camera).place) for thing in case.things}
        if form == "away":
            lens_is_told(case, first)
            close(float(case.answer), *far.values())
        else:
            assert sorted(far) == sorted(case.options.values())
            right = far.pop(case.told)
            assert min(far.values()) - right > 0.029
