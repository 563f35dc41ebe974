"""MJCF out of the table, in the form hf-libero loads: one XML file a thing, and one for the floor scene."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Iterable

import numpy as np

from vst_vla.envs.placeholders.shapes import Part, Thing, Xyz
from vst_vla.vla.contracts import Array

CONTACT = {"solimp": "0.998 0.998 0.001", "solref": "0.001 1", "friction": "0.95 0.3 0.1"}
"""LIBERO's own contact parameters, the same for all its objects."""

TO_FRAME = {"z": (0.0, 0.0, 0.0), "y": (-90.0, 0.0, 0.0)}
"""Rotation vector in degrees from the table's upright axes into the object's frame, by the frame's upward axis."""


def thing_mjcf(thing: Thing) -> str:
    """One object: visual parts in group 1 without mass, colliding parts in group 0 that share the mass by volume."""
    root = ET.Element("mujoco", model=thing.name)
    outer = ET.SubElement(ET.SubElement(root, "worldbody"), "body")
    body = ET.SubElement(outer, "body", name="object")
    frame = quaternion(TO_FRAME[thing.up])
    if thing.contain is not None:
        centre, half = thing.contain
        ET.SubElement(
            body,
            "site",
            name="contain_region",
            type="box",
            pos=text(centre),
            quat="0 0 0 1",
            size=text(half),
            group="0",
            rgba="0.8 0 0 0",
        )
    for part in thing.look:
        rgba = text((*part.colour, 1.0))
        _add_geom(body, part, frame, group="1", contype="0", conaffinity="0", mass="0", rgba=rgba)
    volume = sum(part.volume for part in thing.body)
    for part in thing.body:
        mass = f"{thing.mass * part.volume / volume:.8g}"
        _add_geom(body, part, frame, group="0", mass=mass, rgba="0.8 0.8 0.8 0", **CONTACT)
    _add_placement_sites(outer, thing)
    return _document(root)


def scene_mjcf() -> str:
    """The floor scene: LIBERO's room, cameras and lights, and the two textures for which its styles swap the file."""
    root = ET.Element("mujoco", model="floor_arena")
    _add_surfaces(ET.SubElement(root, "asset"))
    world = ET.SubElement(root, "worldbody")
    floor = ET.SubElement(world, "body", name="floor", pos="0 0 0")
    ET.SubElement(
        floor, "geom", name="floor", type="plane", size="3 3 0.125", condim="3", group="1", material="floorplane"
    )
    for name, pos, quat, size in WALLS:
        ET.SubElement(
            world, "geom", name=f"wall_{name}_visual", type="box", pos=pos, quat=quat, size=size,
            contype="0", conaffinity="0", group="1", material="walls_mat",
        )  # fmt: skip
    for name, pos in LIGHTS:
        ET.SubElement(
            world, "light", name=name, pos=pos, dir="0 -.15 -1", directional="false", castshadow="false",
            diffuse=".8 .8 .8", specular="0.3 0.3 0.3",
        )  # fmt: skip
    for name, pos, quat in CAMERAS:
        ET.SubElement(world, "camera", name=name, mode="fixed", pos=pos, quat=quat)
    return _document(root)


WALLS = (
    ("leftcorner", "-1.25 2.25 1.5", "0.6532815 0.6532815 0.2705981 0.2705981", "1.06 1.5 0.01"),
    ("rightcorner", "-1.25 -2.25 1.5", "0.6532815 0.6532815 -0.2705981 -0.2705981", "1.06 1.5 0.01"),
    ("left", "1.25 3 1.5", "0.7071 0.7071 0 0", "1.75 1.5 0.01"),
    ("right", "1.25 -3 1.5", "0.7071 -0.7071 0 0", "1.75 1.5 0.01"),
    ("rear", "-2 0 1.5", "0.5 0.5 0.5 0.5", "1.5 1.5 0.01"),
    ("front", "3 0 1.5", "0.5 0.5 -0.5 -0.5", "3 1.5 0.01"),
)
LIGHTS = (("light1", "1 1 4"), ("light2", "-3 -3 4"))
CAMERAS = (
    ("frontview", "1 0 1.45", "0.56 0.43 0.43 0.56"),
    ("birdview", "-0.2 0 3", "0.7071 0 0 0.7071"),
    ("agentview", "0.5 0 1.35", "0.653 0.271 0.271 0.653"),
    ("sideview", "-0.0565 1.2761 1.488", "0.0099051 0.0068780 0.5912228 0.8064181"),
)


def quaternion(turn: Xyz) -> Array:
    """(4,) wxyz of a rotation vector in degrees."""
    vector = np.radians(np.asarray(turn, float))
    angle = float(np.linalg.norm(vector))
    axis = vector / angle if angle else vector
    return np.concatenate([[math.cos(angle / 2)], math.sin(angle / 2) * axis])


def text(numbers: Iterable[float]) -> str:
    """Numbers as MJCF writes them, to a micrometre."""
    return " ".join(f"{0.0 + round(float(number), 6):g}" for number in numbers)


def _add_geom(body: ET.Element, part: Part, frame: Array, **attributes: str) -> None:
    shape = {
        "type": part.shape,
        "size": text(part.size),
        "pos": text(_rotate(frame, np.asarray(part.at, float))),
        "quat": text(_multiply(frame, quaternion(part.turn))),
    }
    ET.SubElement(body, "geom", shape | attributes)


def _add_placement_sites(outer: ET.Element, thing: Thing) -> None:
    places = {
        "bottom_site": (0.0, 0.0, thing.bottom_site),
        "top_site": (0.0, 0.0, thing.top_site),
        "horizontal_radius_site": (thing.radius_site, thing.radius_site, 0.0),
    }
    for name, place in places.items():
        ET.SubElement(outer, "site", name=name, pos=text(place), size="0.005", rgba="0 0 0 0")


def _add_surfaces(asset: ET.Element) -> None:
    ET.SubElement(
        asset, "texture", type="skybox", builtin="gradient", rgb1=".9 .9 1", rgb2=".2 .3 .4", width="256", height="256"
    )
    for surface, texture, material, specular in (
        ("light-gray-floor-tile", "texplane", "floorplane", "0"),
        ("light-gray-plaster", "tex-wall", "walls_mat", "0.8"),
    ):
        ET.SubElement(asset, "texture", name=texture, type="2d", file=f"../textures/{surface}.png")
        ET.SubElement(
            asset, "material", name=material, texture=texture, texrepeat="3 3", texuniform="true",
            reflectance="0", shininess="0.1", specular=specular,
        )  # fmt: skip


def _multiply(a: Array, b: Array) -> Array:
    """Product of two wxyz quaternions."""
    real = a[0] * b[0] - a[1:] @ b[1:]
    return np.concatenate([[real], a[0] * b[1:] + b[0] * a[1:] + np.cross(a[1:], b[1:])])


def _rotate(quat: Array, vector: Array) -> Array:
    turned = _multiply(_multiply(quat, np.concatenate([[0.0], vector])), quat * [1, -1, -1, -1])
    return turned[1:]


def _document(root: ET.Element) -> str:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"
