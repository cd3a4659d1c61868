# SPDX-License-Identifier: BSD-3-Clause
"""Standard star exposures become response curves, one after the other."""

from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.calibration import read_columns, read_curve
from muse_core.data.header_values import is_narrow_field
from muse_core.framework import RecipeError
from muse_core.postproc.cube.calibrations import check_filters
from muse_core.postproc.exposure.pixel_tables import log_exposure
from muse_core.postproc.exposure.pointing import airmass, position_angle
from muse_core.postproc.flatfield.spectrum import FLAT_KEY
from muse_core.postproc.flux.calibration import FLUX_KEY
from muse_core.postproc.flux.step import NO_EXTINCTION, check_coverage
from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
from muse_core.postproc.inputs.exposures import open_tables, sort_exposures
from muse_core.postproc.settings import check_settings
from muse_core.postproc.single.checks import in_pixels
from muse_core.postproc.stages import Inputs, correct, prepare, stages
from muse_core.resampling.collapse import WHITE, Filter, load_filters
from muse_core.resampling.grid import NFM_STEP, WFM_STEP
from muse_core.resampling.quality import quality_plane
from muse_core.standard.extraction import StarSpectrum, chosen_profile, extract, largest_size
from muse_core.standard.products import StandardStar, save_products
from muse_core.standard.reference_flux import TAG, reference_flux
from muse_core.standard.response import REGIONS, TelluricRegion, fit_response, sensitivity_of
from muse_core.stars.cube import NotchUsed, StarCube, save_cube, star_grid
from muse_core.stars.detection import Star, find_stars, width_of
from muse_core.stars.positions import sky_positions
from muse_core.stars.reference import ReferenceTable, nearest_table, read_tables, separation

if TYPE_CHECKING:
    from muse_core.data.curves import Floats
    from muse_core.framework import Frame, Frames, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction

RAW = "PIXTABLE_STD"
STEP_A = 1.25
LEVELS = (50.0, 30.0, 10.0, 8.0, 6.0, 5.0)
"""Detection thresholds, tried in this order until there is a star."""
UNKNOWN_WIDTH = 5.0
"""Width of a star [pixel] where neither the star nor the header tells it."""
BANDS = ("lmin", "lmax", "bgmin", "bgmax")


@dataclass(frozen=True)
class Calibrations:
    """What the recipe takes beside the exposures."""

    extinction: tuple[Floats, Floats] | None
    references: list[ReferenceTable] | None
    regions: tuple[TelluricRegion, ...]
    filters: tuple[Filter, ...]


def load(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> Calibrations:
    """Read EXTINCT_TABLE, STD_FLUX_TABLE, TELLURIC_REGIONS and FILTER_LIST; faults go to ``ctx.problems``."""
    extinction = frames.read("EXTINCT_TABLE", _extinction)
    frames.check(
        "EXTINCT_TABLE",
        None if extinction is None else {"lambda": extinction[0], "extinction": extinction[1]},
    )
    if not frames["EXTINCT_TABLE"]:
        ctx.undone(
            "CORRECTED EXTINCT",
            "Extinction table not given! The response holds the extinction at the airmass of the star.",
            "atmospheric extinction is taken out of the response",
        )
    frames.require(TAG, "the response", "Add the fluxes of standard stars that come with the calibrations.")
    references = frames.read_all(TAG, read_tables)
    regions = frames.read("TELLURIC_REGIONS", _regions)
    frames.check("TELLURIC_REGIONS", None if regions is None else _columns(regions))
    return Calibrations(extinction, references, regions or REGIONS, _filters(frames, p, ctx))


def _extinction(frame: Frame) -> tuple[Floats, Floats]:
    lam, extinction = read_curve(frame, ("lambda", "extinction"))
    return lam, extinction


def _regions(frame: Frame) -> tuple[TelluricRegion, ...]:
    columns = [np.asarray(column, float) for column in read_columns(frame, BANDS) if column is not None]
    return tuple(TelluricRegion(*(float(v) for v in row)) for row in zip(*columns, strict=True))


def _columns(regions: tuple[TelluricRegion, ...]) -> dict[str, Floats]:
    return dict(zip(BANDS, np.array([astuple(region) for region in regions], float).T, strict=True))


def _filters(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> tuple[Filter, ...]:
    names = str(p["filter"]).split(",") if ctx.defects.blanks_in_filter_names else p.filter
    frame = frames.first("FILTER_LIST")
    found, missing = load_filters(names, None if frame is None else frame.path)
    check_filters(found, frame, ctx)
    for name in dict.fromkeys(missing):
        text = f"filter {name} not found, neither an image nor a zeropoint is made for it"
        ctx.undone("FILTERS COMPLETE", text, "an image was made for every filter")
    if any(band.name != WHITE for band in found):
        frames.use("FILTER_LIST")
    return tuple(found)


def make_responses(frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    """Make a response curve and a telluric correction of each exposure of a standard star."""
    check_settings(p, ctx)
    if not frames[RAW]:
        ctx.problems.add("", "No standard star exposures found in input!")
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames[RAW], ctx)
    in_pixels(tables, calibrations, ctx)
    for frame, table in tables:
        if table.header.get(FLUX_KEY) is True:
            ctx.problems.add(
                frame.path, f"keyword {FLUX_KEY}", expected="data in counts", found="calibrated fluxes",
                remedy="Give the tables as muse_scibasic makes them.",
            )  # fmt: skip
    given = load(calibrations, p, ctx)
    inputs = Inputs(p, calibrations, tables)
    wanted = ("flat-field spectrum", "atmospheric refraction", "residual refraction")
    corrections = prepare(stages(*wanted), inputs, ctx)
    for exposure in sort_exposures(tables, p, ctx):
        with ctx.part():
            log_exposure(exposure, ctx.log)
            exposure.chain.add(NotchUsed())
            correct(exposure, corrections, p, ctx)
            used = (*exposure.product.frames, *calibrations.used.all)
            make_response(exposure, given, used, p, ctx)


def make_response(
    exposure: Reduction, given: Calibrations, used: tuple[Frame, ...], p: ParamValues, ctx: RunContext
) -> None:
    """Measure the star of an exposure, compare it with what it should be, and save all that."""
    keywords = exposure.keywords
    exptime = keywords.number("EXPTIME")
    ra, dec = keywords.number("RA") or 0.0, keywords.number("DEC") or 0.0
    if exptime is None or exptime <= 0.0:
        raise RecipeError(f"exposure {exposure.number}: no positive EXPTIME, so there is no response")
    table = nearest_table(given.references or [], ra, dec, TAG, ctx)
    reference = reference_flux(table, ctx)
    limits = exposure.chain.files.lambda_limits()
    check_coverage(TAG, reference, limits, "without a response", ctx)
    if given.extinction is not None:
        check_coverage("EXTINCT_TABLE", given.extinction, limits, NO_EXTINCTION, ctx)
    mode = keywords.text("ESO INS MODE") or ""
    narrow = is_narrow_field(exposure.product.header)
    mass = airmass(keywords, ctx.log)
    if mass <= 0.0:
        raise RecipeError(
            f"exposure {exposure.number}: the airmass is unknown; the header needs RA, DEC, LST and EXPTIME, "
            "or ESO TEL AIRM START and END"
        )
    with ctx.clock.step("cube"):
        cube = save_cube(exposure, "DATACUBE_STD", star_grid(exposure, STEP_A), used, ctx, given.filters)
    plane = cube.planes(quality_plane(cube.grid.nz), quality_plane(cube.grid.nz) + 1)[0][0].astype(float)
    stars = detect(plane, exposure)
    width = reference_width(plane, stars[0], exposure, narrow=narrow, ctx=ctx)
    profile = chosen_profile(p.profile, narrow_field=narrow)
    positions = sky_positions(
        stars, cube.grid, (ra, dec), position_angle(keywords, ctx.log), narrow_field=narrow,
        as_c=ctx.defects.star_one_pixel_off,
    )  # fmt: skip
    with ctx.clock.step("flux of the star"):
        spectra = [extract(cube, star, profile, width, mode, ctx.threads, ctx.log) for star in stars]
    for number, spectrum in enumerate(spectra, 1):
        _tell(number, spectrum, cube, ctx)
    chosen = select_star(spectra, positions, (ra, dec), p.select)
    text = "brightest" if p.select == "flux" else "nearest"
    ctx.log.info("Selected the %s star (%d of %d) as reference object", text, chosen + 1, len(spectra))
    spectrum = spectra[chosen]
    good = spectrum.error >= 0.0
    flux = np.where(good, spectrum.flux, 0.0)
    # the C recipe saves standard deviations as variances, and takes them for that here
    variance = np.where(good, spectrum.error ** (1 if ctx.defects.star_error_as_variance else 2), 0.0)
    if not (flux > 0.0).any() and not ctx.defects.response_without_rows:
        raise RecipeError(_no_flux(exposure, spectrum, cube))
    # as it is saved, in single precision
    flux, variance = (a.astype(np.float32).astype(np.float64) for a in (flux, variance))
    rows = sensitivity_of(cube.wavelengths, flux, variance, reference, given.extinction, mass, exptime)
    response = fit_response(
        rows, mode, given.regions, mass, p.smooth, ctx.log,
        flat_corrected=FLAT_KEY in exposure.product.header,
        first_row_left_out=ctx.defects.response_first_row_alone,
    )  # fmt: skip
    if not len(response.measured) and not ctx.defects.response_without_rows:
        raise RecipeError(
            f"exposure {exposure.number}: no plane of the cube lies in the range of wavelengths for which a "
            f"response is made in mode {mode}; widen lambdamin and lambdamax; "
            "STD_FLUX_TABLE must reach into it with fluxes above 0"
        )
    if given.extinction is not None:
        ctx.flag("CORRECTED EXTINCT", True, "atmospheric extinction is taken out of the response")
    star = StandardStar(exposure, cube, profile, spectra, positions, chosen, p.select, response, reference)
    save_products(star, given.filters, used, ctx)


def detect(plane: np.ndarray, exposure: Reduction) -> list[Star]:
    """Return the stars of a plane, at the first threshold that shows any."""
    for level in LEVELS:
        stars = find_stars(plane, level)
        if stars:
            return stars
    raise RecipeError(
        f"exposure {exposure.number}: No object for flux integration found down to {LEVELS[-1]:.1f} sigma "
        "limit; look at the white-light image of PIXTABLE_STD, and at lambdamin and lambdamax"
    )


def reference_width(
    plane: np.ndarray, star: Star, exposure: Reduction, *, narrow: bool, ctx: RunContext
) -> float:
    """Return the width of a star in the middle plane [pixel], or what the seeing monitor says."""
    keywords = exposure.keywords
    seeing = [keywords.number(f"ESO TEL AMBI FWHM {end}") for end in ("START", "END")]
    scale = (NFM_STEP if narrow else WFM_STEP)[0]
    known = [value for value in seeing if value is not None and value > 0.0]
    monitor = sum(known) / len(known) / scale if len(known) == 2 else UNKNOWN_WIDTH
    width = width_of(plane, star)
    if width <= 0.0:
        ctx.log.warning("The width of the star cannot be measured, %.3f pix is used", monitor)
        return monitor
    text = "Using empirically estimated reference FWHM (%.3f pix) instead of DIMM seeing (%.3f pix)"
    ctx.log.info(text, width, monitor)
    return width


def select_star(
    spectra: list[StarSpectrum],
    positions: list[tuple[float, float]],
    pointing: tuple[float, float],
    select: str,
) -> int:
    """Return the number (from 0) of the brightest star, or of that nearest to the pointing."""
    if select == "flux":
        return int(np.argmax([float(spectrum.flux.sum()) for spectrum in spectra]))
    return int(np.argmin([separation(*pointing, *position) for position in positions]))


def _tell(number: int, spectrum: StarSpectrum, cube: StarCube, ctx: RunContext) -> None:
    sizes = spectrum.sizes[spectrum.error >= 0.0, 1]
    if sizes.size:
        text = "Sizes used for flux integration for object %d: %f +/- %f (%f) %f..%f"
        numbers = float(sizes.mean()), float(sizes.std()), float(np.median(sizes))
        ctx.log.info(text, number, *numbers, float(sizes.min()), float(sizes.max()))
    ctx.log.info("Successful fits in %d of %d wavelength planes", spectrum.good, cube.grid.nz)


def _no_flux(exposure: Reduction, spectrum: StarSpectrum, cube: StarCube) -> str:
    star = spectrum.star
    room = largest_size(star, cube.grid.nx, cube.grid.ny)
    where = f"exposure {exposure.number}: the star at pixel {star.x:.1f}, {star.y:.1f}"
    if room < 1.0:
        return f"{where} is too near to the edge of the field for a measurement of its flux"
    return f"{where} has no flux in any plane; try another profile, or look at DATACUBE_STD"
