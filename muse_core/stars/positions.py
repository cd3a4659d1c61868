# SPDX-License-Identifier: BSD-3-Clause
"""About where stars of a cube on the pixel grid are on the sky, by the nominal scale of the instrument."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from muse_core.data.tangent_plane import deproject
from muse_core.postproc.astrometry.projection import default_solution, effective_cd

if TYPE_CHECKING:
    from muse_core.resampling.grid import OutputGrid
    from muse_core.stars.detection import Star


def sky_positions(
    stars: Sequence[Star],
    grid: OutputGrid,
    pointing: tuple[float, float],
    angle_deg: float,
    *,
    narrow_field: bool,
    as_c: bool = False,
) -> list[tuple[float, float]]:
    """Return right ascension and declination [deg] of stars, the pointing in the middle of the cube.

    Parameters
    ----------
    angle_deg : position angle of the field
    as_c : bool
        the middle is a pixel too high along x and y, and the scale always that of the wide field
    """
    (a, b), (c, d) = effective_cd(default_solution(narrow_field=narrow_field and not as_c), angle_deg)
    middle = [0.5 * (size + 1) + (1.0 if as_c else 0.0) for size in (grid.nx, grid.ny)]
    found = []
    for star in stars:
        x, y = star.x - middle[0], star.y - middle[1]
        ra, dec = deproject(a * x + b * y, c * x + d * y, *pointing)
        found.append((math.fmod(float(ra) + 360.0, 360.0), float(dec)))
    return found
