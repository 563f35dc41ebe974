"""A scene graph before the answer: objects with boxes in the picture, relations, then reasoning and an answer."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import linear_sum_assignment

from vst_vla.vla.contracts import Array
from vst_vla.vla.tasks.base import Task

TAGS = ("observe", "scene", "think", "answer")
OBJECT_SHARE, RELATION_SHARE = 0.7, 0.3
LABEL_COST, BOX_COST = 2.0, 1.0

_ID = re.compile(r"[A-Za-z_]+\.\d+")


@dataclass(frozen=True, kw_only=True)
class Graph:
    """What a reply, or a truth, says about a scene."""

    answer: str
    labels: tuple[str, ...]  # (O,)
    boxes: Array  # (O,4) x1, y1, x2, y2 in px
    num_relations: int
    size: tuple[float, float] | None = None  # of the picture, px; the truth's only


@dataclass(frozen=True, kw_only=True)
class SceneGraph(Task[Graph]):
    """A truth is JSON {"answer", "width", "height", "scene": {"objects": […], "relationships": […]}}.

    SpatialThinker's reward (arXiv 2511.07403). A reply is
    `<observe>…</observe><scene>{JSON}</scene><think>…</think><answer>…</answer>`; an object is {"id": "name.1", "bbox":
    [x1, y1, x2, y2]}, a relation {"subject": id, "predicate": text, "object": id}. The terms come in order: without the
    form nothing is paid, and where things are (`spatial`) counts only below a right answer. Labels are compared by
    their characters, where the paper's code compares word vectors.
    """

    name: ClassVar[str] = "scene_graph"
    answers: ClassVar[str] = "JSON with answer, width, height and scene, and at least one object"
    weights: ClassVar[Mapping[str, float]] = {"format": 0.1, "count": 0.2, "accuracy": 0.5, "spatial": 0.2}

    def parse(self, reply: str) -> Graph | None:
        """The graph and the answer; None unless each tag is there once, in order, and the JSON is valid."""
        parts = _sections(reply)
        return None if parts is None else _graph(_load(parts["scene"]), answer=parts["answer"])

    def read_truth(self, truth: str) -> Graph:
        """Raises ValueError unless the truth is JSON with an answer, a picture's size and a valid scene."""
        values = _load(truth)
        graph = _graph(values.get("scene"), answer=str(values.get("answer") or ""), size=_size(values))
        if graph is None or graph.size is None or not graph.answer or not graph.labels:
            raise ValueError(f"'{truth[:80]}' is no truth for {self.name}: expected {self.answers}")
        return graph

    def compare(self, answer: Graph, *, truth: Graph) -> float:
        """1 for the same answer without case."""
        return float(answer.answer.casefold() == truth.answer.casefold())

    def score(self, reply: str, *, truth: str) -> float:
        """The answer alone, as benchmarks count it; 0 for a reply without the form."""
        return self.reward(reply, truth=truth)["accuracy"]

    def well_formed(self, reply: str) -> bool:
        """Whether the reply can be read at all."""
        return self.parse(reply) is not None

    def reward(self, reply: str, *, truth: str) -> dict[str, float]:
        """The four terms, each in [0, 1]; all 0 without the form, `spatial` 0 without the right answer."""
        expected, graph = self.read_truth(truth), self.parse(reply)
        if graph is None:
            return dict.fromkeys(self.weights, 0.0)
        right = self.compare(graph, truth=expected)
        spatial = matched_overlap(graph, truth=expected) if right else 0.0
        return {"format": 1.0, "count": count_score(graph, truth=expected), "accuracy": right, "spatial": spatial}

    def _read(self, text: str) -> Graph | None:
        return self.parse(text)


def count_score(graph: Graph, *, truth: Graph) -> float:
    """How well the numbers of objects (0.7) and of relations (0.3) fit; objects alone where there is no relation."""
    objects = _closeness(len(graph.labels), len(truth.labels))
    if truth.num_relations == 0:
        return objects
    return OBJECT_SHARE * objects + RELATION_SHARE * _closeness(graph.num_relations, truth.num_relations)


def matched_overlap(graph: Graph, *, truth: Graph) -> float:
    """Mean over the true objects of (CIoU + 1) / 2 with the object matched to them by label and place; 0 unmatched."""
    assert truth.size is not None
    scale = np.array(truth.size * 2)
    fits = np.array([[(ciou(a, b) + 1) / 2 for b in truth.boxes / scale] for a in graph.boxes / scale])
    likeness = np.array([[SequenceMatcher(None, a, b).ratio() for b in truth.labels] for a in graph.labels])
    if not fits.size:
        return 0.0
    pairs = linear_sum_assignment(LABEL_COST * (1 - likeness) + BOX_COST * (1 - fits))
    return float(fits[pairs].sum()) / len(truth.labels)


def ciou(first: Sequence[float] | Array, second: Sequence[float] | Array) -> float:
    """Complete IoU of two upright boxes x1, y1, x2, y2 (Zheng et al., arXiv 2005.03572), in [-1, 1]; -1 for no box."""
    a, b = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if (a[2:] <= a[:2]).any() or (b[2:] <= b[:2]).any():
        return -1.0
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    iou = shared / (float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - shared)
    around = np.maximum(a[2:], b[2:]) - np.minimum(a[:2], b[:2])
    apart = float(((a[:2] + a[2:] - b[:2] - b[2:]) ** 2).sum()) / 4 / float((around**2).sum())
    shape = 4 / math.pi**2 * (_slant(b) - _slant(a)) ** 2
    return max(-1.0, iou - apart - (shape * shape / (1 - iou + shape) if shape else 0.0))


def _slant(box: Array) -> float:
    return math.atan((box[2] - box[0]) / (box[3] - box[1]))


def _closeness(found: int, true: int) -> float:
    return max(0.0, 1 - abs(found - true) / max(true, 1))


def _sections(reply: str) -> dict[str, str] | None:
    """The text inside each of `TAGS`; None unless each is there once and they follow one another."""
    if any(reply.count(f"<{tag}>") != 1 or reply.count(f"</{tag}>") != 1 for tag in TAGS):
        return None
    found = re.fullmatch(r"\s*".join(["", *(rf"<{tag}>(.*)</{tag}>" for tag in TAGS), ""]), reply, re.DOTALL)
    return None if found is None else {tag: text.strip() for tag, text in zip(TAGS, found.groups(), strict=True)}


def _load(text: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _size(values: Mapping[str, Any]) -> tuple[float, float] | None:
    sides: list[Any] = [values.get("width"), values.get("height")]
    if not all(_is_number(side) and side > 0 for side in sides):
        return None
    return float(sides[0]), float(sides[1])


def _graph(scene: Any, *, answer: str, size: tuple[float, float] | None = None) -> Graph | None:
    """The graph of a scene's JSON; None when an object or a relation is not as the class says, or an id comes twice."""
    if not isinstance(scene, dict):
        return None
    objects, relations = scene.get("objects"), scene.get("relationships", [])
    if not (isinstance(objects, list) and isinstance(relations, list)):
        return None
    if not (all(map(_is_object, objects)) and all(map(_is_relation, relations))):
        return None
    names = [entry["id"] for entry in objects]
    if len(set(names)) != len(names):
        return None
    boxes = np.array([entry["bbox"] for entry in objects], dtype=np.float64).reshape(-1, 4)
    labels = tuple(name.rpartition(".")[0].replace("_", " ").lower() for name in names)
    return Graph(answer=answer, labels=labels, boxes=boxes, num_relations=len(relations), size=size)


def _is_object(entry: Any) -> bool:
    if not isinstance(entry, dict) or set(entry) != {"id", "bbox"} or not _is_id(entry["id"]):
        return False
    return isinstance(entry["bbox"], list) and len(entry["bbox"]) == 4 and all(map(_is_number, entry["bbox"]))


def _is_relation(entry: Any) -> bool:
    if not isinstance(entry, dict) or not {"subject", "predicate", "object"} <= set(entry):
        return False
    return _is_id(entry["subject"]) and _is_id(entry["object"]) and isinstance(entry["predicate"], str)


def _is_id(value: Any) -> bool:
    return isinstance(value, str) and _ID.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e9
