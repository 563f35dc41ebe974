"""The table: the ten products and the basket of libero_object. Sizes, masses and frames are measured on LIBERO's own
objects as the simulator compiles them, so that stored initial states settle to the same heights. Metres, kilograms.
"""

from __future__ import annotations

from vst_vla.envs.placeholders.shapes import (
    LABEL_M,
    Part,
    Rgb,
    Thing,
    Xyz,
    bottle_body,
    bottle_look,
    box,
    can_body,
    can_look,
    carton_body,
    carton_look,
    ellipsoid,
)

WHITE: Rgb = (0.93, 0.93, 0.9)
RED: Rgb = (0.8, 0.07, 0.05)
GREEN: Rgb = (0.05, 0.48, 0.2)
BLUE: Rgb = (0.12, 0.28, 0.75)
ORANGE: Rgb = (0.97, 0.5, 0.05)
YELLOW: Rgb = (0.98, 0.82, 0.15)
COCOA: Rgb = (0.3, 0.16, 0.09)

CAN = (0.031, 0.0382)
CARTON: Xyz = (0.0263, 0.0263, 0.0698)
KETCHUP: Xyz = (0.028, 0.0178, 0.0728)
DRESSING: Xyz = (0.0264, 0.0174, 0.0728)
BBQ: Xyz = (0.0235, 0.0146, 0.0536)
BUTTER: Xyz = (0.0381, 0.0198, 0.0087)
CREAM_CHEESE: Xyz = (0.0406, 0.0213, 0.0089)
PUDDING: Xyz = (0.0401, 0.0232, 0.0134)


def _hope(
    name: str,
    mass: float,
    body: tuple[Part, ...],
    look: tuple[Part, ...],
    *,
    up: str = "y",
    sites: Xyz = (-0.06, 0.04, 0.025),
) -> Thing:
    bottom, top, radius = sites
    return Thing(
        name=name,
        folder="stable_hope_objects",
        up=up,
        mass=mass,
        body=body,
        look=look,
        bottom_site=bottom,
        top_site=top,
        radius_site=radius,
    )


def _flat_box(half: Xyz, *, top: Rgb, side: Rgb, oval: Rgb, spot: Rgb) -> tuple[Part, ...]:
    """A lying packet: large faces of another colour than the sides, with an oval and a spot on both."""
    width, depth, height = half
    faces = (height, -height)
    return (
        box((width - LABEL_M, depth - LABEL_M, height - LABEL_M), colour=side),
        *(box((width, depth, 0.0015), (0.0, 0.0, z * (1 - 0.0015 / height)), top) for z in faces),
        *(ellipsoid((0.62 * width, 0.66 * depth, 0.0008), (0.0, 0.0, z), oval) for z in faces),
        *(ellipsoid((0.3 * width, 0.2 * depth, 0.0013), (0.0, 0.0, z), spot) for z in faces),
    )


BUTTER_LOOK = (
    box((BUTTER[0] - LABEL_M, BUTTER[1] - LABEL_M, BUTTER[2] - LABEL_M), colour=YELLOW),
    box((0.016, BUTTER[1], BUTTER[2]), (0.0221, 0.0, 0.0), RED),
    box((0.004, BUTTER[1], BUTTER[2]), (0.0021, 0.0, 0.0), WHITE),
)
PUDDING_ENDS = tuple(
    box((0.004, PUDDING[1], PUDDING[2] - 0.003), (x, 0.0, 0.0), (0.45, 0.72, 0.95)) for x in (-0.0363, 0.0363)
)

PRODUCTS = (
    _hope(
        "alphabet_soup",
        0.0259,
        can_body(*CAN),
        can_look(*CAN, top=BLUE, bottom=ORANGE, split=0.0, dots=(1.0, 0.95, 0.6)),
        sites=(-0.04, 0.04, 0.025),
    ),
    _hope(
        "bbq_sauce",
        0.0122,
        bottle_body(BBQ, shoulder=-0.002, cap=0.026, cap_radius=0.0134),
        bottle_look(
            BBQ, shoulder=-0.012, cap=0.026, cap_radius=0.0134,
            glass=(0.3, 0.09, 0.04), lid=(0.3, 0.09, 0.04), label=YELLOW, dot=RED,
        ),
        up="z",
        sites=(-0.06, 0.06, 0.015),
    ),
    _hope("butter", 0.0052, (box(BUTTER),), BUTTER_LOOK, up="z", sites=(-0.02, 0.02, 0.02)),
    _hope(
        "chocolate_pudding",
        0.0102,
        (box(PUDDING),),
        _flat_box(PUDDING, top=COCOA, side=COCOA, oval=(0.62, 0.4, 0.24), spot=WHITE) + PUDDING_ENDS,
        up="z",
    ),
    _hope(
        "cream_cheese",
        0.0062,
        (box(CREAM_CHEESE),),
        _flat_box(CREAM_CHEESE, top=(0.8, 0.85, 0.95), side=(0.7, 0.76, 0.88), oval=BLUE, spot=WHITE),
        up="z",
        sites=(-0.025, 0.025, 0.03),
    ),
    _hope(
        "ketchup",
        0.0232,
        bottle_body(KETCHUP, shoulder=0.0, cap=0.036, cap_radius=0.0155),
        bottle_look(
            KETCHUP, shoulder=-0.012, cap=0.036, cap_radius=0.0155, glass=RED, lid=WHITE, label=WHITE, dot=RED
        ),
    ),
    _hope(
        "milk",
        0.0317,
        carton_body(CARTON, eaves=0.035),
        carton_look(CARTON, eaves=0.035, walls=WHITE, roof=RED, band=RED, disc_colour=(0.1, 0.1, 0.12)),
        sites=(-0.06, 0.04, 0.03),
    ),
    _hope(
        "orange_juice",
        0.0317,
        carton_body(CARTON, eaves=0.035),
        carton_look(CARTON, eaves=0.035, walls=YELLOW, roof=YELLOW, band=(0.35, 0.62, 0.15), disc_colour=ORANGE),
    ),
    _hope(
        "salad_dressing",
        0.0218,
        bottle_body(DRESSING, shoulder=0.0, cap=0.036, cap_radius=0.0155),
        bottle_look(
            DRESSING, shoulder=-0.012, cap=0.036, cap_radius=0.0155,
            glass=WHITE, lid=GREEN, label=(0.55, 0.8, 0.4), dot=RED,
        )
    ),
    _hope(
        "tomato_sauce",
        0.0266,
        can_body(*CAN),
        can_look(*CAN, top=RED, bottom=GREEN, split=-0.004, dots=(0.95, 0.2, 0.1)),
    ),
)  # fmt: skip

WALL = 0.0067
BASKET_HALF = 0.0735
BASKET_LOW, BASKET_TOP = 0.0046, 0.1452
SLATS = 6


def _basket_wall(low: float, high: float, *, thick: float, colour: Rgb = (0.8, 0.8, 0.8)) -> tuple[Part, ...]:
    """One ring of four upright boards from height `low` to `high`, `thick` half-wide."""
    half, middle = (high - low) / 2, (low + high) / 2
    return (
        *(box((thick, BASKET_HALF + thick, half), (x, 0.0, middle), colour) for x in (-BASKET_HALF, BASKET_HALF)),
        *(box((BASKET_HALF - thick, thick, half), (0.0, y, middle), colour) for y in (-BASKET_HALF, BASKET_HALF)),
    )


def _basket_look() -> tuple[Part, ...]:
    """A crate: slats in two browns, alternately thick and thin, a pale rim and a dark floor."""
    rim = BASKET_TOP - 0.01
    step = (rim - BASKET_LOW) / SLATS
    slats: list[Part] = []
    for k in range(SLATS):
        colour: Rgb = (0.5, 0.33, 0.14) if k % 2 else (0.4, 0.25, 0.1)
        low = BASKET_LOW + k * step
        slats += _basket_wall(low, low + step, thick=WALL - 0.001 * (k % 2), colour=colour)
    floor = box((BASKET_HALF, BASKET_HALF, 0.0083), (0.0, 0.0, 0.0131), (0.26, 0.17, 0.08))
    return *slats, *_basket_wall(rim, BASKET_TOP, thick=WALL + 0.0005, colour=(0.72, 0.53, 0.28)), floor


BASKET = Thing(
    name="basket",
    folder="stable_scanned_objects",
    up="z",
    mass=0.1361,
    body=(
        box((BASKET_HALF, BASKET_HALF, 0.0085), (0.0, 0.0, 0.0131)),
        *_basket_wall(BASKET_LOW + 0.002, BASKET_TOP, thick=WALL),
    ),
    look=_basket_look(),
    bottom_site=-0.06,
    top_site=0.04,
    radius_site=0.025,
    contain=((0.0, 0.0, 0.07185), (0.06108, 0.06108, 0.06949)),
)

THINGS = (*PRODUCTS, BASKET)
