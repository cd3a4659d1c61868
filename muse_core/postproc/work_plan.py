# SPDX-License-Identifier: BSD-3-Clause
"""What a run of muse_scipost or muse_exp_combine is going to do, from headers and parameters alone."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from muse_core.data.header_values import is_narrow_field, uses_laser_guide_stars
from muse_core.framework.work_plan import Pass, WorkPlan
from muse_core.postproc.cube.plan import check_planes
from muse_core.postproc.exposure.reduction import PIXTABLE
from muse_core.postproc.settings import may_refine
from muse_core.resampling.grid import NFM_STEP, NOMINAL_STEP_A, WFM_STEP
from muse_core.resampling.schedule import bytes_of_plane, slab_height

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.data.pixtable import PixelTableFile
    from muse_core.framework import Frame, ParamValues, RunContext

ROW = 28
"""Bytes of a row with all columns."""
PLACE = 16
"""Those of them that say where a row is."""
RADIAN = math.degrees(3600.0)
"""In arcseconds."""
IMPORTS_BYTES = 150e6
SKY_BYTES = 130e6
"""Of the model of the sky: lines, their fits, profiles, and more of the compiled kernels."""
FILLED = 0.8
"""Of the room for the slabs in flight, at the peak: as measured with 1e6 to 3e8 rows in 1 to 16 exposures."""
BAND_PART = 0.05
"""Of the rows of an exposure that its quick image is made of."""

# seconds per million rows with one thread, on a usual machine
ZONES, WHITE, SKY, CONTINUUM, LINES, RAMAN, LEVELS, TABLE, CUBE, CUBE_LINES, BANDS = (
    0.03, 0.25, 0.2, 0.3, 0.05, 0.3, 0.25, 0.3, 0.45, 0.4, 0.3,
)  # fmt: skip


def plan_of_combination(
    tables: Sequence[tuple[Frame, PixelTableFile]],
    output_wcs: Header | None,
    p: ParamValues,
    ctx: RunContext,
    *,
    corrections: bool,
) -> WorkPlan:
    """Return the plan of a run.

    Parameters
    ----------
    output_wcs : header of OUTPUT_WCS
    corrections : the exposures are corrected first (muse_scipost)
    """
    rows = float(sum(table.rows for _, table in tables))
    passes = [Pass("opening", rows, PLACE * rows, ZONES)]
    if corrections:
        passes += _correction_passes(rows, [table for _, table in tables], p)
    exposures = len({table.date_obs for _, table in tables})
    nx, ny, nz = _size(tables, output_wcs, p)
    disk = 0.0
    for name in ("individual", "positioned"):
        if name in p.save:
            passes.append(Pass("tables of the exposures", rows, ROW * rows, TABLE))
            disk += ROW * rows
    if exposures > 1:
        passes.append(Pass("images of the exposures", BAND_PART * rows, BAND_PART * ROW * rows, BANDS))
    if {"cube", "sums"}.intersection(p.save):
        lines = corrections and p.skymethod in ("model", "subtract-model")
        passes.append(Pass("cube and images", rows, ROW * rows, CUBE + (CUBE_LINES if lines else 0.0)))
        disk += 8.0 * nx * ny * nz * ("cube" in p.save) + 26.0 * nx * ny * nz * ("sums" in p.save)
    if "combined" in p.save:
        passes.append(Pass("combined pixel table", rows, ROW * rows, TABLE))
        disk += ROW * rows
    if "stacked" in p.save:
        passes.append(Pass("stacked slices", rows, ROW * rows, TABLE))
    base = IMPORTS_BYTES + (SKY_BYTES if corrections and p.skymethod == "model" else 0.0)
    threads, budget = max(ctx.threads, 1), float(ctx.memory_bytes)
    least = base + bytes_of_plane(rows / nz, nx * ny, 1, by_exposure=False)
    plane = bytes_of_plane(rows / nz, nx * ny, threads, by_exposure=exposures > 1)
    height = slab_height(rows, nx * ny, nz, budget, threads, by_exposure=exposures > 1)
    used = max(base + FILLED * plane * max(height, 1), least)
    notes = [f"cube: about {nx} x {ny} x {nz}"]
    if plane > budget:
        notes.append("MUSE_RECIPES_MEMORY is small for so many threads: the peak will be higher")
    return WorkPlan(tuple(passes), len(tables), used, least, disk, tuple(notes))


def _correction_passes(rows: float, tables: Iterable[PixelTableFile], p: ParamValues) -> list[Pass]:
    passes = []
    if p.autocalib == "deepfield":
        passes += [
            Pass("autocalibration", rows, ROW * rows, WHITE),
            Pass("autocalibration", rows, ROW * rows, LEVELS),
        ]
    if any(uses_laser_guide_stars(table.header) for table in tables):
        passes.append(Pass("Raman light", rows, ROW * rows, RAMAN))
    sky = "sky subtraction"
    if p.skymethod in ("model", "simple"):
        if p.autocalib != "deepfield":
            passes.append(Pass(sky, rows, ROW * rows, WHITE))
        passes.append(Pass(sky, rows, ROW * rows, SKY))
    if p.skymethod == "model":
        passes.append(Pass(sky, rows, ROW * rows, CONTINUUM))
    if p.skymethod in ("model", "subtract-model"):
        passes.append(Pass(sky, rows, 8 * rows, LINES))
    if may_refine(p):
        passes.append(Pass(sky, rows, ROW * rows, SKY))
    return passes


def _size(
    tables: Sequence[tuple[Frame, PixelTableFile]], output_wcs: Header | None, p: ParamValues
) -> tuple[int, int, int]:
    """Estimate the size of the cube: from OUTPUT_WCS, or from the limits in the headers of the tables."""
    header = tables[0][1].header
    lam = _span(tables, "LAMBDA") or (4750.0, 9350.0)
    low, high = max(lam[0], p.lambdamin), min(lam[1], p.lambdamax)
    step_of_planes = p.dlambda or NOMINAL_STEP_A
    check_planes(low, high, step_of_planes)
    nz = max(1, int((high - low) / step_of_planes) + 1)
    if output_wcs is not None and all(f"NAXIS{axis}" in output_wcs for axis in (1, 2)):
        nz = int(output_wcs.get("NAXIS3", nz)) if output_wcs.get("NAXIS", 0) > 2 else nz
        return max(1, int(output_wcs["NAXIS1"])), max(1, int(output_wcs["NAXIS2"])), max(1, nz)
    step = NFM_STEP if is_narrow_field(header) else WFM_STEP
    if not p.astrometry:
        step = (1.0, 1.0)
    unit = tables[0][1].units["xpos"] or "pix"
    scale = {"deg": 3600.0, "rad": RADIAN}.get(unit)
    sides = []
    for axis, size in zip("XY", step):
        first, last = _span(tables, axis) or (0.0, 300.0)
        sides.append((last - first) * (size if scale is None else scale))
    polar = unit == "rad"  # of reduced tables: angle about the middle of a field, and distance from it
    if polar:
        corner = max(map(abs, _span(tables, "Y") or (0.0, 300.0 * step[0] / math.sqrt(2.0) / RADIAN)))
        sides = [math.sqrt(2.0) * corner * RADIAN] * 2
    turned = (scale is None or polar) and p.astrometry
    angle = math.radians(float(header.get("ESO INS DROT POSANG", 0.0) or 0.0)) if turned else 0.0
    across = abs(math.cos(angle)) * sides[0] + abs(math.sin(angle)) * sides[1]
    along = abs(math.sin(angle)) * sides[0] + abs(math.cos(angle)) * sides[1]
    if turned:
        ra, dec = _pointings(tables)
        across, along = across + ra, along + dec
    return (
        max(1, min(int(across / (p.dx or step[0])) + 2, 20_000)),
        max(1, min(int(along / (p.dy or step[1])) + 2, 20_000)),
        nz,
    )


def _span(tables: Sequence[tuple[Frame, PixelTableFile]], axis: str) -> tuple[float, float] | None:
    """Return the limits of an axis over all tables, as their headers tell them."""
    keys = [f"{PIXTABLE} LIMITS {axis} {end}" for end in ("LOW", "HIGH")]
    found = []
    for _, table in tables:
        try:
            low, high = (float(table.header[key]) for key in keys)
        except (KeyError, TypeError, ValueError):
            return None
        if not (math.isfinite(low) and math.isfinite(high)):
            return None
        found.append((low, high))
    return min(low for low, _ in found), max(high for _, high in found)


def _pointings(tables: Sequence[tuple[Frame, PixelTableFile]]) -> tuple[float, float]:
    """Return how far apart the pointings of the exposures are [arcsec]."""
    try:
        ra = [float(table.header["RA"]) for _, table in tables]
        dec = [float(table.header["DEC"]) for _, table in tables]
    except (KeyError, TypeError, ValueError):
        return 0.0, 0.0
    across = (max(ra) - min(ra)) % 360.0
    across = min(across, 360.0 - across)
    return 3600.0 * across * math.cos(math.radians(dec[0])), 3600.0 * (max(dec) - min(dec))
