# SPDX-License-Identifier: BSD-3-Clause
"""The sources of one exposure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.alignment.arrays import Floats
from muse_core.alignment.images.field import FieldInfo
from muse_core.data.tangent_plane import TanWcs


@dataclass(frozen=True)
class SourceList:
    """Sources of one exposure with sky positions (degrees), and how they were found.

    ``x``, ``y`` count from 0; ``position_error`` is the typical one in arcsec per coordinate, NaN for a list
    that was given.
    """

    number: npt.NDArray[np.int32]
    x: Floats
    y: Floats
    flux: Floats
    sharpness: Floats
    roundness: Floats
    ra: Floats
    dec: Floats
    origin: str
    median: float
    mad: float
    threshold: float
    position_error: float

    def __len__(self) -> int:
        return int(self.x.size)


def sky_positions(
    wcs: TanWcs, x: Floats, y: Floats, *, positions_one_pixel_low: bool
) -> tuple[Floats, Floats]:
    """Sky positions of zero-based pixels.

    With the defect they are taken for FITS pixels, which start at 1: all positions are one pixel off. That
    cancels only between exposures of equal orientation.
    """
    if not positions_one_pixel_low:
        return wcs.sky(x + 1.0, y + 1.0)
    positions = [wcs.sky_by_native_angles(*place) for place in zip(x, y, strict=True)]
    ra, dec = np.array(positions).reshape(-1, 2).T
    return ra, dec


def field_areas(fields: Sequence[FieldInfo], lists: Sequence[SourceList]) -> Floats:
    """Solid angle that holds the sources of each exposure, in square degrees."""
    areas = []
    for info, sources in zip(fields, lists, strict=True):
        image = info.shape[0] * info.shape[1]
        box = np.ptp(sources.x) * np.ptp(sources.y) if len(sources) else 0.0
        areas.append(max(image, box) * info.wcs.pixel_area)
    return np.array(areas)
