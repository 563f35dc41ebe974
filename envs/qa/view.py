"""What one camera sees of a scene, and of each object in it: masks, rectangles, depths, places. Measured once.

Letters in shapes: H/W pixels, O objects.
"""

from __future__ import annotations

import math
from functools import cached_property, lru_cache

import numpy as np

from vst_vla.envs.geometry import apply, box_corners, box_numbers, project, spin_box, upright_box
from vst_vla.envs.qa.marks import steady_pixels
from vst_vla.vla.contracts import Array, SceneState

MIN_VISIBLE = 0.5
MIN_PIXELS = 16


class View:
    """One camera's share of a scene. `view_of` makes it."""

    def __init__(self, scene: SceneState, *, camera: int) -> None:
        self.scene = scene
        self.camera = camera
        self.name = scene.cameras[camera]
        self.image: Array = scene.images[camera]  # the same array each time, so that it is encoded once
        self.depth: Array = scene.depth[camera]
        self.intrinsics: Array = scene.intrinsics[camera]
        self.world_to_camera: Array = scene.world_to_camera[camera]
        self.height, self.width = self.image.shape[:2]
        self.seen = tuple(Seen(self, number=number) for number in range(scene.num_objects))

    @property
    def fovs(self) -> tuple[float, float]:
        """Horizontal and vertical field of view in degrees."""
        sides = ((self.width, self.intrinsics[0, 0]), (self.height, self.intrinsics[1, 1]))
        horizontal, vertical = (2 * math.degrees(math.atan(side / (2 * focal))) for side, focal in sides)
        return horizontal, vertical

    @property
    def lens_text(self) -> str:
        """States the field of view, without which no length follows from a picture."""
        return f"The camera's horizontal field of view is {self.fovs[0]:.1f} degrees."

    @cached_property
    def centres(self) -> Array:
        """Box centres (O,3) in the camera's frame, m."""
        return apply(self.world_to_camera, points=self.scene.poses[:, :3, 3])

    @cached_property
    def pixels(self) -> Array:
        """Visible pixels of each object, its parts included, (O,)."""
        scene = self.scene
        counts = np.bincount(scene.instances[self.camera].ravel(), minlength=scene.num_objects + 1)[1:]
        return np.array([counts[scene.members(number)].sum() for number in range(scene.num_objects)])

    @cached_property
    def centred(self) -> Array:
        """Which objects' box centres lie inside the picture, (O,) bool."""
        ahead = self.centres[:, 2] > 0
        spots = project(np.where(ahead[:, None], self.centres, 1.0), intrinsics=self.intrinsics)
        return ahead & (spots >= 0).all(axis=1) & (spots < (self.width, self.height)).all(axis=1)

    def clear(
        self, *, min_visible: float = MIN_VISIBLE, min_pixels: int = MIN_PIXELS, parts: bool = False
    ) -> dict[str, list[Seen]]:
        """Category -> its objects in view, where no doubt is possible.

        An object is clear when enough of it is seen and its box centre lies inside the picture. A category is left out
        when one of its objects is in view but not clear.

        Args:
            min_visible: fraction of the object that is not hidden.
            min_pixels: how many pixels show it.
            parts: drawers, doors, knobs and handles too.
        """
        clear = (self.scene.visible[self.camera] >= min_visible) & (self.pixels >= min_pixels) & self.centred
        found: dict[str, list[Seen]] = {}
        for seen in self.seen:
            if self.pixels[seen.number] and (parts or not seen.is_part):
                found.setdefault(seen.category, []).append(seen)
        return {category: group for category, group in found.items() if all(clear[seen.number] for seen in group)}

    def unique(
        self, *, min_visible: float = MIN_VISIBLE, min_pixels: int = MIN_PIXELS, parts: bool = False
    ) -> list[Seen]:
        """The clear objects whose category is theirs alone in the whole scene, so that a name means one thing."""
        names = self.scene.categories
        found = self.clear(min_visible=min_visible, min_pixels=min_pixels, parts=parts)
        return [group[0] for category, group in found.items() if len(group) == 1 and names.count(category) == 1]


class Seen:
    """One object in one camera's picture."""

    def __init__(self, view: View, *, number: int) -> None:
        self.view = view
        self.number = number
        self.name = view.scene.names[number]
        self.category = view.scene.categories[number]
        self.is_fixed = view.scene.fixed[number]
        self.is_part = view.scene.parents[number] >= 0
        self.is_simple = not self.is_part and number not in view.scene.parents  # a point on it can mean nothing else

    @cached_property
    def mask(self) -> Array:
        """Where it is seen, its parts included, (H,W) bool."""
        return self.view.scene.mask(self.view.camera, number=self.number)

    @cached_property
    def depths(self) -> Array:
        """Depth of every visible pixel, (N,) m."""
        return self.view.depth[self.mask]

    @property
    def centre(self) -> Array:
        """Box centre (3,) in the camera's frame, m."""
        return np.asarray(self.view.centres[self.number])

    @property
    def half_extents(self) -> Array:
        """Half extents (3,) of its box, m."""
        return np.asarray(self.view.scene.half_extents[self.number])

    @cached_property
    def bbox(self) -> list[int]:
        """The visible pixels' bounds [x1, y1, x2, y2], the far edges exclusive."""
        rows, columns = np.nonzero(self.mask)
        return [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]

    @cached_property
    def corners(self) -> Array:
        """The box's corners (8,3) in the world, m."""
        return box_corners(self.view.scene.poses[self.number], half_extents=self.half_extents)

    @cached_property
    def box(self) -> Array:
        """VST's nine numbers (9,) in the camera's frame, unrounded.

        Of the rotations that describe the same box (24, and any turn of a round object about its axis) the smallest.
        """
        pose = self.view.world_to_camera @ self.view.scene.poses[self.number]
        axis = self.view.scene.round_axes[self.number]
        if axis >= 0:
            upright, half_extents = spin_box(pose, half_extents=self.half_extents, axis=axis)
        else:
            upright, half_extents = upright_box(pose, half_extents=self.half_extents)
        return box_numbers(upright, half_extents=half_extents)

    @cached_property
    def _places(self) -> Array:
        """Pixels (N,2) row, column well inside the object, on a smooth part of it."""
        x1, y1, x2, y2 = self.bbox
        rows, columns = slice(max(y1 - 1, 0), y2 + 1), slice(max(x1 - 1, 0), x2 + 1)
        steady = steady_pixels(self.mask[rows, columns], depth=self.view.depth[rows, columns])
        return np.asarray(np.argwhere(steady) + np.array([rows.start, columns.start]))

    def spot(self, rng: np.random.Generator) -> tuple[int, int] | None:
        """A random pixel (row, column) well inside the object, on a smooth part of it; None without one."""
        if not len(self._places):
            return None
        row, column = self._places[int(rng.integers(len(self._places)))]
        return int(row), int(column)


@lru_cache(maxsize=64)
def view_of(scene: SceneState, *, camera: int) -> View:
    """The view; kept for the other families that ask about the same scene."""
    return View(scene, camera=camera)


def views_of(scene: SceneState) -> list[View]:
    """Every camera's view."""
    return [view_of(scene, camera=camera) for camera in range(len(scene.cameras))]
