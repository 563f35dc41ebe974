"""Which of two is nearer or farther, or several points in order, by the depth that the camera sees."""

import itertools
import json
import re

import numpy as np

from qa_truth.case import COLOURS, Case

GAP = 0.049


def check(case: Case) -> None:
    moment, camera, about = case.moment, case.camera, case.about
    depth = moment.depth(camera)
    if about["form"] == "letters":
        order = case.answer.split(", ")
        values = {mark.name: depth[mark.row, mark.column] for mark in case.item.marks}
        for mark, thing in zip(case.item.marks, case.things, strict=True):
            assert moment.mask(camera, thing)[mark.row, mark.column]
        assert sorted(order) == sorted(values) == re.findall(r"\b([A-E])\b", case.question)[: len(values)]
        far_first = bool(re.search(r"far to near|to the nearest|farthest first", case.question))
        steps = [values[a] - values[b] for a, b in itertools.pairwise(order if far_first else order[::-1])]
        assert min(steps) > GAP
        return
    case.named(*case.things)
    middles = {thing.category: np.median(depth[moment.mask(camera, thing)]) for thing in case.things}
    wants_far = bool(re.search("farther|more distant|larger depth", case.question))
    assert wants_far != bool(re.search("nearer|closer|smaller depth", case.question))
    assert f"the {case.answer}" in case.question
    told = re.sub(rf"^({'|'.join(COLOURS)})-point ", "", case.answer)
    assert bool(case.item.marks) == (told != case.answer)
    other = next(name for name in middles if name != told)
    assert (middles[told] - middles[other]) * (1 if wants_far else -1) > GAP
    for thing in case.things:
        rectangle(case, moment, thing)


def rectangle(case, moment, thing):
    """Asserts the point or the two-dimensional box that comes with a name."""
    if case.item.marks:
        colour = re.search(rf"({'|'.join(COLOURS)})-point {thing.category}\b", case.question)[1]
        case.point(next(m for m in case.item.marks if m.name == colour), thing, moment=moment, camera=case.camera)
        return
    told = json.loads(re.search(rf'{thing.category} {{"bbox_2d": (\[.*?\])}}', case.question)[1])
    rows, columns = np.nonzero(moment.mask(case.camera, thing))
    true = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert np.abs(np.subtract(told, true)).max() <= 1, f"{told} is told, {true} is true"
