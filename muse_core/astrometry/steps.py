# SPDX-License-Identifier: BSD-3-Clause
"""Exposures of an astrometric field become plate solutions, one after the other."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.astrometry.centroids import Position, measure_positions
from muse_core.astrometry.matching import Match, NoMatchError, match_stars
from muse_core.astrometry.products import AstrometricField, detection_extensions, save_solution
from muse_core.astrometry.solution import Solution, fit_solution
from muse_core.data.header_values import is_narrow_field
from muse_core.data.input_rules import FIELD_STARS
from muse_core.data.rules import check
from muse_core.data.tangent_plane import project
from muse_core.framework import RecipeError
from muse_core.postproc.exposure.pixel_tables import log_exposure
from muse_core.postproc.exposure.pointing import position_angle
from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
from muse_core.postproc.inputs.exposures import open_tables, sort_exposures
from muse_core.postproc.settings import check_settings
from muse_core.postproc.single.checks import in_pixels
from muse_core.postproc.stages import Inputs, correct, prepare, stages
from muse_core.resampling.collapse import white_filter
from muse_core.resampling.grid import NFM_STEP, WFM_STEP
from muse_core.stars.cube import NotchUsed, save_cube, star_grid
from muse_core.stars.detection import find_stars
from muse_core.stars.reference import (
    ReferenceTable,
    float_column,
    nearest_table,
    read_tables,
    separation,
)

if TYPE_CHECKING:
    from muse_core.framework import Frame, Frames, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.resampling.cube_file import CubeReader

RAW, TAG = "PIXTABLE_ASTROMETRY", "ASTROMETRY_REFERENCE"
STEP_A = 50.0
LEVEL_STEP, LOWEST_LEVEL = 0.1, 1.0
SCALE_TOLERANCE = 0.1
"""Relative difference of a scale from the nominal one, beyond which a solution is none."""
C_ROTATION = 3.5
"""Degrees by which the C recipe finds turned fields (3 works, 4 does not)."""
FARTHEST_STAR = 45.0
"""Degrees from the field to what is no star of it, and cannot be drawn on its plane (a catalogue's fault)."""
Image = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Catalogue:
    """Stars of the reference, brightest first; positions in degrees."""

    ra: npt.NDArray[np.float64]
    dec: npt.NDArray[np.float64]

    def nominal_pixels(
        self, pointing: tuple[float, float], steps: tuple[float, float]
    ) -> npt.NDArray[np.float64]:
        """Return where the stars would be with the nominal scale and north up, float64[n, 2]."""
        xi, eta = project(self.ra, self.dec, *pointing)
        return np.column_stack([-xi * 3600.0 / steps[0], eta * 3600.0 / steps[1]])


@dataclass(frozen=True)
class Found:
    """A solution with what it came from."""

    solution: Solution
    positions: list[Position]
    match: Match
    level: float


def make_solutions(frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    """Make an astrometric solution of each exposure."""
    check_settings(p, ctx)
    if abs(p.detsigma) == 0.0 or (p.detsigma < 0.0 and abs(p.detsigma) < LOWEST_LEVEL):
        ctx.problems.add(
            "", "parameter detsigma", found=f"{p.detsigma:g}",
            expected="a threshold above 0, or a negative one that says where to begin, -1 or below",
        )  # fmt: skip
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames[RAW], ctx)
    in_pixels(tables, calibrations, ctx)
    remedy = "Add the catalogue that comes with the calibrations."
    calibrations.require(TAG, "the positions of the stars", remedy)
    references = calibrations.read_all(TAG, read_tables)
    for tag in ("EXTINCT_TABLE", "STD_TELLURIC"):  # named also where there is nothing to calibrate (as in C)
        calibrations.use(tag)
    inputs = Inputs(p, calibrations, tables)
    wanted = ["flat-field spectrum", "atmospheric refraction", "residual refraction"]
    if calibrations["STD_RESPONSE"]:
        wanted.append("flux calibration")
    corrections = prepare(stages(*wanted), inputs, ctx)
    for exposure in sort_exposures(tables, p, ctx):
        with ctx.part():
            log_exposure(exposure, ctx.log)
            exposure.chain.add(NotchUsed())
            correct(exposure, corrections, p, ctx)
            used = (*exposure.product.frames, *calibrations.used.all)
            make_solution(exposure, references or [], used, p, ctx)


def read_catalogue(table: ReferenceTable, ctx: RunContext) -> Catalogue:
    """Return the stars of a table, brightest first (in the order of the table if it has no magnitudes)."""
    ra, dec = float_column(table, "RA", TAG), float_column(table, "DEC", TAG)
    known = any(name.lower() == "mag" for name in table.columns)
    magnitude = float_column(table, "mag", TAG) if known else np.zeros(ra.size)
    away = np.median(separation(table.ra, table.dec, ra, dec))
    columns = {"RA": ra, "DEC": dec, "mag": magnitude, "AWAY": float(away)}
    check(f"{table.file} ({table.name})", FIELD_STARS, columns, ctx)
    ctx.problems.raise_if_any()
    order = np.argsort(magnitude, kind="stable")
    order = order[separation(table.ra, table.dec, ra, dec)[order] < FARTHEST_STAR]
    return Catalogue(ra[order], dec[order])


def make_solution(
    exposure: Reduction,
    references: list[ReferenceTable],
    used: tuple[Frame, ...],
    p: ParamValues,
    ctx: RunContext,
) -> None:
    """Find the stars of an exposure in the catalogue, fit a solution and save it with the cube."""
    keywords = exposure.keywords
    ra, dec = keywords.number("RA") or 0.0, keywords.number("DEC") or 0.0
    catalogue = read_catalogue(nearest_table(references, ra, dec, TAG, ctx), ctx)
    grid = star_grid(exposure, STEP_A)
    if grid.nz < 3:
        raise RecipeError(
            f"exposure {exposure.number}: {grid.nz} planes of {STEP_A:g} Angstrom are too few to find stars; "
            "widen lambdamin and lambdamax"
        )
    angle = position_angle(keywords, ctx.log)
    kept: list[AstrometricField] = []

    def solve(reader: CubeReader):  # type: ignore[no-untyped-def]
        image, variance = detection_image(reader)
        found = best_solution(image, variance, catalogue, exposure, p, ctx)
        solution = found.solution
        if not ctx.defects.position_angle_left:
            solution = solution.turned(angle)
        elif abs(angle) > 0.01:
            ctx.log.warning("the solution holds the position angle of the field, %.3f deg", angle)
        chosen = replace(found, solution=solution)
        field = AstrometricField(exposure, catalogue.ra, catalogue.dec, chosen, angle)
        kept.append(field)
        return (), detection_extensions(field, image, variance, grid, found.solution)

    with ctx.clock.step("cube and solution"):
        save_cube(exposure, "DATACUBE_ASTROMETRY", grid, used, ctx, [white_filter()], solve)
    save_solution(kept[0], used, p, ctx)


def detection_image(reader: CubeReader) -> tuple[Image, Image]:
    """Return the median of the three middle planes, and the variance of the plane it is from."""
    middle = reader.data.shape[0] // 2
    data = np.asarray(reader.data[middle - 1 : middle + 2], np.float64)
    stat = np.asarray(reader.stat[middle - 1 : middle + 2], np.float64)
    with np.errstate(invalid="ignore"):
        order = np.argsort(data, axis=0)[1:2]
    image = np.take_along_axis(data, order, 0)[0]
    variance = np.take_along_axis(stat, order, 0)[0]
    missing = ~np.isfinite(data).all(axis=0)
    if missing.any():
        with np.errstate(invalid="ignore"):
            counted = np.isfinite(data).sum(axis=0)
            some = missing & (counted > 0)
            image[some] = np.nanmedian(data[:, some], axis=0)
            variance[some] = np.nanmedian(stat[:, some], axis=0)
    return image, variance


def levels_of(detsigma: float) -> list[float]:
    """Return the thresholds to try: one, or for a negative value all from there down to 1.

    >>> levels_of(1.5), levels_of(-1.2)
    ([1.5], [1.2, 1.1, 1.0])
    """
    if detsigma > 0.0:
        return [detsigma]
    number = round((-detsigma - LOWEST_LEVEL) / LEVEL_STEP)
    return [round(-detsigma - k * LEVEL_STEP, 10) for k in range(number + 1)]


def best_solution(
    image: Image, variance: Image, catalogue: Catalogue, exposure: Reduction, p: ParamValues, ctx: RunContext
) -> Found:
    """Return the solution with the most stars (and of these the one with the smallest residuals)."""
    found: list[Found] = []
    reasons: list[str] = []
    nominal = NFM_STEP if is_narrow_field(exposure.product.header) else WFM_STEP
    for level in levels_of(p.detsigma):
        try:
            one = solve_at(image, variance, catalogue, exposure, level, p, ctx)
        except NoMatchError as error:
            reasons.append(f"at {level:g} sigma: {error}")
            continue
        off = max(abs(scale / step - 1.0) for scale, step in zip(one.solution.scales, nominal, strict=True))
        if off > SCALE_TOLERANCE:
            reasons.append(f"at {level:g} sigma: the scale would be off by {100.0 * off:.0f} %")
            continue
        found.append(one)
    if not found:
        raise RecipeError(
            f"exposure {exposure.number}: no astrometric solution: {'; '.join(reasons[:3])}. Check "
            "PIXTABLE_ASTROMETRY (RA and DEC of its header; are all IFUs there?), the stars of "
            "ASTROMETRY_REFERENCE, detsigma and radius"
        )
    best = max(found, key=lambda one: (len(one.match), -sum(one.solution.spread)))
    (sx, sy), (ax, ay) = best.solution.scales, best.solution.angles
    text = "astrometric calibration results: scales %f/%f arcsec/spaxel, rotation %f/%f deg"
    ctx.log.info(text, sx, sy, ax, ay)
    return best


def solve_at(
    image: Image,
    variance: Image,
    catalogue: Catalogue,
    exposure: Reduction,
    level: float,
    p: ParamValues,
    ctx: RunContext,
) -> Found:
    """Detect, measure and match the stars at one threshold, and fit the solution."""
    stars = find_stars(image, level)
    alone = not ctx.defects.neighbours_in_the_fit
    positions = measure_positions(image, variance, stars, p.centroid, alone=alone)
    ctx.log.info("%d of %d sources were recorded at %g sigma", len(positions), len(stars), level)
    positions.sort(key=lambda position: -position.flux)
    keywords = exposure.keywords
    pointing = keywords.number("RA") or 0.0, keywords.number("DEC") or 0.0
    steps = NFM_STEP if is_narrow_field(exposure.product.header) else WFM_STEP
    places = np.array([(position.x, position.y) for position in positions]).reshape(-1, 2)
    text = "matching %d observed positions with a catalog of %d positions"
    ctx.log.info(text, len(places), catalogue.ra.size)
    if p.faccuracy > 0.0 and ctx.defects.faccuracy_never_matches:
        raise NoMatchError("the C recipe finds none with faccuracy above 0")
    largest = C_ROTATION if ctx.defects.turned_fields_not_matched else None
    match = match_stars(places, catalogue.nominal_pixels(pointing, steps), p.radius, largest)
    ctx.log.info("Found enough matches: %d (field turned by %.2f deg)", len(match), match.rotation_deg)
    x, y = places[match.image].T
    solution = fit_solution(
        x, y, catalogue.ra[match.catalogue], catalogue.dec[match.catalogue], pointing, tuple(p.rotcenter[:2]),
        p.niter, p.rejsigma,
    )  # fmt: skip
    return Found(solution, positions, match, level)
