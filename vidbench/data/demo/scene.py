"""Where it happens: endless rooms, gyms, streets and parks.

Coordinates are canvas pixels (512 x 384 a frame, twice the size of the clip), y down; a scene has no end on
either side: it is drawn cell by cell, and each cell takes its chances from the recording and its own number.
"""

import cv2
import numpy as np

from vidbench.data.demo import indoors, outdoors
from vidbench.data.demo.sheet import BOTTOM, CELL, TOP, Sheet

SCENES = {
    "gym": (indoors.gym_base, indoors.gym_cell),
    "park": (outdoors.park_base, outdoors.park_cell),
    "room": (indoors.room_base, indoors.room_cell),
    "street": (outdoors.street_base, outdoors.street_cell),
}


def panorama(background: str, group: int, left: int, right: int) -> Sheet:
    """The scene of a recording between two columns; the same columns of one recording look the same."""
    sheet = Sheet(left, right)
    rng = np.random.default_rng([group, 11])
    horizon = horizon_of(group)
    draw_base, draw_cell = SCENES[background]
    style = draw_base(sheet, horizon, rng)
    for cell in range(left // CELL - 1, right // CELL + 2):
        draw_cell(sheet, cell * CELL, horizon, style, np.random.default_rng([group, 13, cell + 1000]))
    grain = np.random.default_rng([group, 17]).normal(0, 2.6, ((BOTTOM - TOP) // 3, (right - left) // 3, 1))
    grain = cv2.resize(grain.astype(np.float32), (right - left, BOTTOM - TOP), interpolation=cv2.INTER_LINEAR)
    sheet.image = np.clip(sheet.image + grain[..., None], 0, 255).astype(np.uint8)
    return sheet


def horizon_of(group: int) -> int:
    """The row where wall or sky meets the ground."""
    return int(np.random.default_rng([group, 19]).integers(248, 276))
