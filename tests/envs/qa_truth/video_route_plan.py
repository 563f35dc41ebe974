"""The turns of a walk: walked here, turn by turn."""

from qa_truth.case import SPECK, Case, apart, clockwise

TURNS = {"right": (90, 41), "back": (180, 31), "left": (270, 41)}
PHRASES = (
    "You are at the {0} and face the {1}. You turn, go straight to the {2}, turn again and go straight to the {3}.",
    "begin at the {0}, facing the {1}; 1. [fill in] 2. go forward until the {2}; 3. [fill in] 4. go forward until the",
    "starts at the {0}, looking towards the {1}, and has to reach the {2} first and the {3} then, in straight lines.",
)


def check(case: Case) -> None:
    frame, things = case.frame, case.things
    case.named(*things)
    assert min(frame.pixels(case.camera, thing) for thing in things) > SPECK
    assert any(phrase.format(*(thing.category for thing in things)) in case.question for phrase in PHRASES)
    place, facing, *goals = (frame.middle(thing) for thing in things)
    ahead, walked = facing - place, []
    for goal in goals:
        assert apart(goal[:2], place[:2]) > 0.079
        angle = clockwise(ahead, goal - place)
        fitting = [turn for turn, (middle, width) in TURNS.items() if abs(angle - middle) < width]
        assert fitting, f"{angle:.0f} degrees is no clear turn"
        walked += fitting
        place, ahead = goal, goal - place
    assert case.told == " then ".join(walked), f"{walked} is true"
    assert 2 <= len(set(case.options.values())) == len(case.options) <= 4
    assert case.answer in case.options
