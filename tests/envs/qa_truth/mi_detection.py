"""Boxes in the first camera's axes of what either picture shows; both cameras have the stated lens."""

import re

from qa_truth.case import SPECK, Case, close
from qa_truth.fitting import boxes_fit


def check(case: Case) -> None:
    moment, eyes = case.moment, [case.moment.eye(camera) for camera in case.cameras]
    for eye in eyes:
        close(float(re.search(r"f_x=([\d.]+)", case.question)[1]), eye.focal, within=1e-4)
    things = moment.things.values()
    seen = [thing for thing in things if max(moment.pixels(camera, thing) for camera in case.cameras) > SPECK]
    boxes_fit(case, moment=moment, eye=eyes[0], in_view=seen)
