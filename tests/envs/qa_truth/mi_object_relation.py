"""A direction from one object to a third, ahead being a second; seen from above."""

from qa_truth.case import SPECK, Case, apart, clockwise, points_to

PHRASES = {
    "compass": (
        "let the {1} be north of the {0}. In which direction from the {0} is the {2}?",
        "direction from the {0} to the {1} as north. Which compass direction leads from the {0} to the {2}?",
        "the {1} lies to the north of the {0}. Where does the {2} lie",
    ),
    "sides": (
        "Standing at the {0} and facing the {1}, on which side is the {2}?",
        "to be at the {0} and to look at the {1}. In which direction is the {2}?",
        "If the {0} were you and the {1} were straight ahead, where would the {2} be?",
    ),
    "clock": (
        "let the {1} be at 12 o'clock from the {0}. At which hour is the {2}?",
        "a clock face on the {0} so that 12 o'clock points at the {1}. Towards which hour does the {2} lie?",
    ),
}


def check(case: Case) -> None:
    moment, dial = case.moment, case.about["dial"]
    case.named(*case.things)
    names = [thing.category for thing in case.things]
    assert any(phrase.format(*names) in case.question for phrase in PHRASES[dial]), case.question
    for thing in case.things:
        assert max(moment.pixels(camera, thing) for camera in case.cameras) > SPECK
    start, ahead, goal = (moment.middle(thing) for thing in case.things)
    assert min(apart(a[:2], b[:2]) for a, b in ((start, ahead), (start, goal), (ahead, goal))) > 0.079
    angle = clockwise(ahead - start, goal - start)
    assert points_to(angle, case.told, dial=dial), f"{case.told} is told, {angle:.0f} degrees is true"
    others = set(case.options.values()) - {case.told}
    assert not any(points_to(angle, other, dial=dial) for other in others)
