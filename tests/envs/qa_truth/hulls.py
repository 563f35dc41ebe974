"""How well answered boxes, projected, agree with what is seen of objects that nothing hides: hulls of both.

Letters in shapes: N points, H/W pixels.
"""

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull

from qa_truth.case import answered_boxes, apart

LEAST = 60
"""Pixels of a mask from which on hulls are compared."""
NEAREST = 0.05
"""Metres in front of the camera that a box keeps."""
UNHIDDEN = 0.97
FINE = 4


def hull_agreement(cases):
    """Category -> (intersection over union of the hulls, share of the mask that the box covers) of each view.

    An object that several questions about one scene ask for is counted once a camera.
    """
    found, known = {}, set()
    for case in cases:
        if case.item.family != "detection":
            continue
        moment, eye = case.moment, case.moment.eye(case.camera)
        for label, (_, box) in answered_boxes(case.answer):
            same = [thing for thing in moment.things.values() if thing.category == label]
            thing = min(same, key=lambda one: apart(eye.sees(moment.middle(one)), box.middle))
            if (case.camera, thing.name) in known or box.corners[:, 2].min() < NEAREST:
                continue
            known.add((case.camera, thing.name))
            spots = eye.project(box.corners)
            if spots.min() > 0 and spots.max() < eye.size and is_unhidden(moment, case.camera, thing):
                found.setdefault(label, []).append(agreement(spots, moment.mask(case.camera, thing)))
    return found


def is_unhidden(moment, camera, thing):
    pixels = moment.pixels(camera, thing)
    return pixels >= LEAST and pixels >= UNHIDDEN * moment.alone(camera, thing).sum()


def agreement(spots, mask):
    """Of projected corners (8,2) and a mask (H,W)."""
    rows, columns = np.nonzero(mask)
    outline = np.concatenate([np.c_[columns + x, rows + y] for x in (0, 1) for y in (0, 1)])
    box, silhouette = (filled(points, len(mask)) for points in (spots, outline))
    return float((box & silhouette).sum() / (box | silhouette).sum()), float((box & mask).sum() / mask.sum())


def filled(points, size):
    """The convex hull of points (N,2) in pixels as a picture (size,size) bool."""
    canvas = Image.new("1", (FINE * size, FINE * size))
    rim = points[ConvexHull(points).vertices] * FINE
    ImageDraw.Draw(canvas).polygon([tuple(point) for point in rim.tolist()], fill=1, outline=1)
    return np.asarray(canvas)[FINE // 2 :: FINE, FINE // 2 :: FINE]
