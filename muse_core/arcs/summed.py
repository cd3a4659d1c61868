# SPDX-License-Identifier: BSD-3-Clause
"""The image of all arc lamps together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muse_core.arcs.images import LampImage
from muse_core.arcs.lamps import Lamps
from muse_core.detector.combine import CombinePlan, combine_images
from muse_core.detector.image import Image, ImageRoom, band, bands

MEAN = CombinePlan("average")


def sum_of_lamps(made: Sequence[LampImage], room: ImageRoom) -> LampImage:
    """Add the images of all lamps; it names the exposures of the first one.

    A pixel that is flagged in some of them is the sum of the others, scaled to the number of all; one that is
    flagged in all is the least flagged times that number (as in 2.8.7).
    """
    n, (ny, nx) = len(made), made[0].image.shape
    total = room.new((ny, nx))
    for first, last in bands(ny):
        parts = [band(one.image, first, last) for one in made]
        rows = Image.empty((last - first, nx))
        data, stat, dq = (np.stack(planes) for planes in zip(*parts, strict=True))
        combine_images(data, stat, dq, MEAN, *rows)
        rows.data[:] *= np.float32(n)
        rows.stat[:] *= np.float32(n * n)
        total.put(first, rows)
    numbers = tuple(number for one in made for number in one.lamps.numbers)
    names = tuple(name for one in made for name in one.lamps.names)
    return LampImage(Lamps(numbers, names), made[0].job, total, made[0].models, ())
