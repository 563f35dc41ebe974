"""Boxes of what is asked for, in the camera's axes; the question states the camera."""

import re

from qa_truth.case import SPECK, Case, close
from qa_truth.fitting import boxes_fit


def check(case: Case) -> None:
    moment, eye = case.moment, case.moment.eye(case.camera)
    close(float(re.search(r"f_x=([\d.]+)", case.question)[1]), eye.focal, within=1e-4)
    seen = [thing for thing in moment.things.values() if moment.pixels(case.camera, thing) > SPECK]
    boxes_fit(case, moment=moment, eye=eye, in_view=seen)
