"""Which numbered point of the second picture shows the place circled in the first."""

import itertools

import numpy as np

from qa_truth.case import Case, apart

COLOURS = [(255, 255, 255), (40, 230, 230), (255, 140, 20), (90, 0, 130)]  # of points 1 to 4


def check(case: Case) -> None:
    moment, (thing,) = case.moment, case.things
    eyes = [moment.eye(camera) for camera in case.cameras]
    ring, *numbered = case.item.marks
    assert [(mark.name, mark.image) for mark in numbered] == [(str(n), 1) for n in (1, 2, 3, 4)]
    source, *places = (
        eyes[m.image].point(m.row, m.column, moment.depth(case.cameras[m.image])[m.row, m.column])
        for m in (ring, *numbered)
    )
    gaps = {f"point-{mark.name}": apart(place, source) for mark, place in zip(numbered, places, strict=True)}
    assert gaps.pop(case.answer) < 0.02, "the answered point shows another place"
    assert min(gaps.values()) > 0.025, "a wrong point shows the same place"
    assert moment.mask(case.cameras[0], thing)[ring.row, ring.column]
    spots = [np.array((mark.row, mark.column)) for mark in numbered]
    spread = min(np.linalg.norm(a - b) for a, b in itertools.combinations(spots, 2))
    assert spread > 0.115 * eyes[0].size, "two points cannot be told apart"
    drawn = [tuple(case.item.images[m.image][m.row, m.column].tolist()) for m in numbered]
    assert drawn == COLOURS, "a point is not drawn, or not in its number's colour"
