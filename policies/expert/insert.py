"""How an object gets under a roof, as in a microwave: a tilted hand holds its outer side and slides it in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vst_vla.policies.expert.clearance import Pose, hand_boxes, overlap
from vst_vla.policies.expert.geometry import Box
from vst_vla.policies.expert.grasp import HOME_HEADING, Grasp
from vst_vla.policies.expert.motion import about_up, pointing_down
from vst_vla.policies.expert.put_down import Way
from vst_vla.policies.expert.situation import Situation
from vst_vla.vla.contracts import Array

TILT = np.deg2rad(45.0)  # of the hand's direction of reach, towards the object
ALONG = 0.35  # share of the closing direction that may lie along the way in
HELD_FAR = 20.0  # gain per m between the object's middle and the hand
TURN_COST = 0.3  # per rad
LIFT = 0.012  # m between the object and the floor that it is slid over
BEFORE = 0.03  # m between the object and the opening before it is slid in
STEP = 0.01  # m between the places that are tried
ROOM = 0.005  # m kept between the hand and everything
BESIDE = 0.06  # m to either side of the spot's middle
TUNNEL = 0.045  # m, half-width and half-height of the opening that is looked for


def insert(seen: Situation, grasps: Sequence[Grasp]) -> Way | None:
    """The way in, or None when the spot has no roof, or no open side, or the object has no part to hold it by."""
    inwards = _way_in(seen) if _has_roof(seen) else None
    candidates = [] if inwards is None else [(grasp, _turn(seen, grasp, inwards)) for grasp in grasps]
    fitting = [(grasp, turn) for grasp, turn in candidates if turn is not None]
    if inwards is None or not fitting:
        return None
    grasp, turn = min(fitting, key=lambda pair: _cost(seen, *pair))
    rotation, turned = _tilted(grasp, seen.middle), about_up(turn)
    hand = Pose(position=turned @ (grasp.position - seen.origin), rotation=turned @ rotation)
    origin, slide = _depths(seen, inwards, hand)
    return Way(position=grasp.position, rotation=rotation, turn=turn, origin=origin, slide=slide)


def _has_roof(seen: Situation) -> bool:
    """Whether nothing can come down into the spot's middle."""
    upper = seen.spot.middle[2] + seen.spot.half[2]
    return seen.spot.relation == "in" and bool(seen.around.top_at(seen.spot.middle[:2]) >= upper)


def _way_in(seen: Situation) -> Array | None:
    """Unit vector (3,) from the open side to the spot's middle, along one of the world's level axes."""
    for axis in (0, 1):
        for sign in (1.0, -1.0):
            inwards = np.zeros(3)
            inwards[axis] = sign
            half = np.full(3, TUNNEL)
            half[axis] = seen.spot.half[axis] / 2 + BEFORE
            tunnel = Box(center=seen.spot.middle - inwards * half[axis], rotation=np.eye(3), half=half)
            if not any(overlap(tunnel, box) for box in seen.others):
                return inwards
    return None


def _turn(seen: Situation, grasp: Grasp, inwards: Array) -> float | None:
    """By which angle (rad) the part that is held comes to the outside; None when it is held along the way in."""
    outwards = grasp.position[:2] - seen.middle
    closing = np.array([np.cos(grasp.heading), np.sin(grasp.heading)])
    if abs(closing @ outwards) > ALONG * float(np.linalg.norm(outwards)):
        return None
    turn = np.arctan2(-inwards[1], -inwards[0]) - np.arctan2(outwards[1], outwards[0])
    return float((turn + np.pi) % (2 * np.pi) - np.pi)


def _cost(seen: Situation, grasp: Grasp, turn: float) -> float:
    far = float(np.linalg.norm(grasp.position[:2] - seen.middle))
    return grasp.cost - HELD_FAR * far + TURN_COST * (abs(turn) + abs(grasp.heading + turn - HOME_HEADING))


def _tilted(grasp: Grasp, middle: Array) -> Array:
    """The hand's rotation (3,3), its fingers leaning towards the object's middle."""
    closing = pointing_down(grasp.heading)[:, 0]
    level = np.cross([0.0, 0.0, 1.0], closing)
    level = level if level[:2] @ (middle - grasp.position[:2]) > 0 else -level
    reach = np.sin(TILT) * level - np.array([0.0, 0.0, np.cos(TILT)])
    return np.stack([closing, np.cross(reach, closing), reach], axis=1)


def _depths(seen: Situation, inwards: Array, hand: Pose) -> tuple[Array, Array]:
    """The object's origin when it is let go, as deep inside as the hand can follow, and the way there from outside."""
    lowest = float(seen.shape.underside.min()) - seen.origin[2]
    middle = seen.spot.middle.copy()
    below = [box.top for box in seen.others if box.top < middle[2] and _covers(box, middle)]
    middle[2] = max(below) - lowest + LIFT
    half = float(np.abs(inwards) @ seen.spot.half)
    behind = max(float(np.max((box.center - seen.origin)[:2] @ inwards[:2])) for box in seen.boxes)
    across, reach = np.array([-inwards[1], inwards[0], 0.0]), np.arange(0.0, BESIDE, STEP)
    places = [(depth, side) for depth in np.arange(0.0, half, STEP) for side in sorted([*reach, *-reach], key=abs)]
    clear = ((d, s) for d, s in places if _is_free(seen, hand.moved(middle - d * inwards + s * across)))
    depth, side = next(clear, (half - STEP, 0.0))
    return middle - depth * inwards + side * across, (half - depth + BEFORE + behind) * inwards


def _covers(box: Box, point: Array) -> bool:
    """Whether the box lies above or below a point."""
    reach = np.abs(box.rotation[:2]) @ box.half
    return bool((np.abs(box.center[:2] - point[:2]) < reach).all())


def _is_free(seen: Situation, hand: Pose) -> bool:
    parts = [Box(center=box.center, rotation=box.rotation, half=box.half + ROOM) for box in hand_boxes(hand)]
    return not any(overlap(part, box) for part in parts for box in seen.others)
