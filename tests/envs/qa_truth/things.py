"""The things of a LIBERO scene as LIBERO's own tables and MuJoCo's model have them: bodies, drawn geoms, names.

Letters in shapes: N points.
"""

import itertools
from dataclasses import dataclass

import mujoco
import numpy as np
from scipy.spatial import ConvexHull, QhullError

DRAWN = 1
"""robosuite's geom group of what is drawn."""
WORTHWHILE = 0.9
"""A turned box is taken only when its volume is less than this share of the straight one's."""
ROUND = 0.05
"""How far, as a share of the widest, the widths of something round may differ."""


@dataclass(frozen=True)
class Thing:
    """A whole object, or a part of one."""

    name: str
    category: str
    root: int  # body
    geoms: tuple[int, ...]  # drawn ones
    whole: str  # what it is a part of; its own name for a whole
    is_stiff: bool  # no joint inside

    @property
    def is_part(self):
        return self.whole != self.name


@dataclass(frozen=True)
class Box:
    """Corners (8,3), the middle (3,) and the three sides, longest first, in m."""

    corners: np.ndarray
    sides: tuple[float, float, float]
    is_round: bool

    @property
    def middle(self):
        return self.corners.mean(axis=0)

    @property
    def reach(self):
        """Half the diagonal."""
        return float(np.linalg.norm(self.sides)) / 2


def read_things(simulator):
    """Name -> thing: whole ones, then parts."""
    problem, model = simulator.problem, simulator.sim.model._model
    tables = problem.parsed_problem["objects"], problem.parsed_problem["fixtures"]
    kinds = {name: kind.replace("_", " ") for table in tables for kind, names in table.items() for name in names}
    kinds = {name: "cookie box" if kind == "cookies" else kind for name, kind in kinds.items()}
    found = {}
    for name in (*problem.objects_dict, *problem.fixtures_dict):
        if name in problem.obj_body_id and (geoms := drawn_below(model, problem.obj_body_id[name])):
            root = int(problem.obj_body_id[name])
            found[name] = Thing(name, kinds[name], root, tuple(geoms), name, not jointed_below(model, root))
    for whole in list(found.values()):
        found |= {part.name: part for part in parts_of(model, whole)}
    return found


def bodies_below(model, root):
    """The body and its descendants."""
    inside = [root]
    for body in range(root + 1, model.nbody):
        if model.body_parentid[body] in inside:
            inside.append(body)
    return inside


def jointed_below(model, root):
    return [body for body in bodies_below(model, root)[1:] if model.body_jntnum[body]]


def drawn_below(model, root):
    bodies = set(bodies_below(model, root))
    return [
        geom
        for geom in range(model.ngeom)
        if model.geom_bodyid[geom] in bodies
        and model.geom_group[geom] == DRAWN
        and model.geom_type[geom] != mujoco.mjtGeom.mjGEOM_PLANE
    ]


def parts_of(model, whole):
    """Drawers slide, knobs say so, doors are what else turns; handles are meshes of that name, or bars among meshes."""
    for body in jointed_below(model, whole.root):
        joint = model.body_jntadr[body]
        words = f"{model.body(body).name} {model.joint(joint).name}"
        kind = "knob" if "knob" in words or "button" in words else "door"
        kind = "drawer" if model.jnt_type[joint] == mujoco.mjtJoint.mjJNT_SLIDE else kind
        kind = " ".join([*[place for place in ("top", "middle", "bottom") if place in words][:1], kind])
        name, geoms = f"{whole.name}_{kind.replace(' ', '_')}", drawn_below(model, body)
        stiff = not jointed_below(model, body)
        yield Thing(name, f"{kind} of the {whole.category}", body, tuple(geoms), whole.name, stiff)
        meshes = {geom: model.mesh(model.geom_dataid[geom]).name for geom in geoms if model.geom_dataid[geom] >= 0}
        handle = [geom for geom, mesh in meshes.items() if "handle" in mesh]
        handle = handle or ([geom for geom in geoms if geom not in meshes] if meshes else [])
        if handle:
            category = f"handle of the {kind} of the {whole.category}"
            yield Thing(f"{name}_handle", category, body, tuple(handle), whole.name, True)


def geom_points(model, geom):
    """Points (N,3) in the geom's frame whose convex hull is the geom's, to within a thousandth of its radius."""
    kind, size = model.geom_type[geom], model.geom_size[geom]
    if kind == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        start = model.mesh_vertadr[mesh]
        return model.mesh_vert[start : start + model.mesh_vertnum[mesh]].astype(float)
    if kind == mujoco.mjtGeom.mjGEOM_BOX:
        return np.array(list(itertools.product((-1, 1), repeat=3))) * size
    around = np.exp(2j * np.pi * np.arange(96) / 96)
    if kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        rim = np.c_[around.real, around.imag] * size[0]
        return np.concatenate([np.c_[rim, np.full(96, z)] for z in (-size[1], size[1])])
    tilts = np.linspace(-np.pi / 2, np.pi / 2, 49)
    ball = np.array([(np.cos(t) * a.real, np.cos(t) * a.imag, np.sin(t)) for t in tilts for a in around])
    if kind == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        return ball * size
    length = size[1] if kind == mujoco.mjtGeom.mjGEOM_CAPSULE else 0.0
    return ball * size[0] + np.sign(ball) * [0, 0, length]


def box_around(points):
    """The box of points (N,3) along their own axes, or along one of them when a turn about it saves a tenth."""
    straight = spanned(points, np.eye(3))
    turned = min((spanned(points, axes) for axes in turns(points)), key=lambda found: np.prod(found[1]))
    corners, sides = turned if np.prod(turned[1]) < WORTHWHILE * np.prod(straight[1]) else straight
    return Box(corners, tuple(sorted(map(float, sides), reverse=True)), is_round(points))


def spanned(points, axes):
    """Corners (8,3) and sides of the box along the columns of `axes`."""
    low, high = (points @ axes).min(axis=0), (points @ axes).max(axis=0)
    picks = np.array(list(itertools.product((0, 1), repeat=3)))
    return np.where(picks, high, low) @ axes.T, high - low


def turns(points):
    """Axes (3,3) along the best-fitting rectangle of each of the three outlines (one side lies on the hull)."""
    for axis in range(3):
        flat = np.delete(points, axis, axis=1)
        rim = flat[ConvexHull(flat, qhull_options="QJ").vertices]
        edges = np.roll(rim, -1, axis=0) - rim
        best = min(np.arctan2(edges[:, 1], edges[:, 0]), key=lambda angle: np.prod(np.ptp(rim @ plane(angle), axis=0)))
        axes = np.eye(3)
        axes[np.ix_(*[[i for i in range(3) if i != axis]] * 2)] = plane(best)
        yield axes


def plane(angle):
    return np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])


def is_round(points):
    """Whether the outline seen along one of the axes is a circle."""
    around = np.linspace(0, np.pi, 24, endpoint=False)
    widths = [np.ptp(np.delete(points, axis, axis=1) @ [np.cos(around), np.sin(around)], axis=0) for axis in range(3)]
    return any(np.ptp(width) <= ROUND * width.max() for width in widths)


def hull_of(points):
    """The points (N,3) that matter for boxes."""
    try:
        return points[ConvexHull(points).vertices]
    except QhullError:  # flat
        return points
