# SPDX-License-Identifier: BSD-3-Clause
"""The model of the night sky from an exposure of empty sky.

The steps are those of muse_scipost in another order: flux calibration first, then flagged rows are left out
for good, then the refraction (measured against 2.8.7). Nothing is subtracted, and no pixel table is saved.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.slices import rows_by_slice
from muse_core.framework import RecipeError
from muse_core.framework.errors import naming
from muse_core.framework.fits_file import open_fits
from muse_core.framework.products import set_card
from muse_core.postproc.exposure.pixel_tables import log_exposure, save_pending
from muse_core.postproc.exposure.reduction import limit_cards
from muse_core.postproc.flux.calibration import FLUX_KEY
from muse_core.postproc.inputs.calibration_frames import CalibrationFrames
from muse_core.postproc.inputs.exposures import Table, as_one_exposure, open_tables, sort_exposures
from muse_core.postproc.settings import check_settings
from muse_core.postproc.single.checks import SKY_KEY, chosen_exposure, in_pixels
from muse_core.postproc.sky import calibrations as sky_calibrations
from muse_core.postproc.sky import products as sky_products
from muse_core.postproc.sky.model_fit import fit_sky, tell_short_continuum
from muse_core.postproc.sky.region import find_sky
from muse_core.postproc.sky.step import keep_model, keep_region
from muse_core.postproc.stages import Inputs, correct, prepare, stages

if TYPE_CHECKING:
    import numpy.typing as npt

    from muse_core.data.block import Block
    from muse_core.framework import Frames, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.sky.calibrations import SkyCalibrations
    from muse_core.postproc.sky.model_fit import FittedSky
    from muse_core.postproc.sky.region import SkyRegion

CURVES = ("STD_RESPONSE", "EXTINCT_TABLE", "STD_TELLURIC")
SCIPOST = "ESO QC SCIPOST"


@dataclass(frozen=True)
class NightSky:
    """The sky of an exposure: where it was found, its lines and its continuum."""

    exposure: Reduction
    region: SkyRegion
    fitted: FittedSky
    continuum_unit: str
    """Of a given continuum."""


def create_sky(frames: Frames, p: ParamValues, ctx: RunContext) -> None:
    """Find the sky of an exposure, fit its lines, and save mask, image, spectrum, lines and continuum."""
    check_settings(p, ctx)
    calibrations = CalibrationFrames(frames, ctx)
    tables = open_tables(frames["PIXTABLE_SKY"], ctx)
    in_pixels(tables, calibrations, ctx)
    _check_tables(tables, calibrations, ctx)
    inputs = Inputs(p, calibrations, tables)
    flux = prepare(stages("flat-field spectrum", "flux calibration"), inputs, ctx)
    refraction = prepare(stages("atmospheric refraction"), inputs, ctx)
    before = tuple(calibrations.used.all)
    sky = sky_calibrations.load(calibrations, p, ctx)
    exposure = _exposure(tables, p, ctx)
    log_exposure(exposure, ctx.log)
    correct(exposure, flux, p, ctx)
    if exposure.product.data_unit in ("", "count"):
        raise RecipeError("Pixel table not flux calibrated: it has no positive EXPTIME; repair its header")
    exposure.chain.good_only = True
    exposure.chain.sorted_slices = True  # so that rows on the sky are found by what they are (as in C)
    correct(exposure, refraction, p, ctx)
    with ctx.clock.step("sky"), naming([frame.path for frame in exposure.product.frames]):
        region = find_sky(exposure, sky.mask, p, ctx)
        fitted = fit_sky(exposure, region, sky, p, ctx, _weights(exposure, region))
    found = NightSky(exposure, region, fitted, _continuum_unit(calibrations))
    mask = tuple(calibrations["SKY_MASK"]) if sky.mask.mask is not None else ()
    _save(found, sky, (*before, *mask), tuple(calibrations.used.all), ctx)


def _continuum_unit(calibrations: CalibrationFrames) -> str:
    """Return the unit of the fluxes of a given SKY_CONTINUUM, which is saved as it is."""
    frame = calibrations.first("SKY_CONTINUUM")
    if frame is None:
        return ""
    with open_fits(frame.path) as hdus:
        return str(hdus["CONTINUUM"].columns["flux"].unit or "") if "CONTINUUM" in hdus else ""


def _check_tables(tables: list[Table], calibrations: CalibrationFrames, ctx: RunContext) -> None:
    """Refuse tables without their sky, and those that do not go with the given curves."""
    curves = [tag for tag in CURVES if calibrations[tag]]
    for frame, table in tables:
        if table.header.get(SKY_KEY) is True:
            ctx.problems.add(
                frame.path, f"keyword {SKY_KEY}", expected="a table with its sky",
                found="T: Pixel table already sky subtracted", remedy="Leave this table out.",
            )  # fmt: skip
        calibrated = table.header.get(FLUX_KEY) is True
        if calibrated and curves:
            ctx.problems.add(
                frame.path, f"keyword {FLUX_KEY}", expected=f"data in counts, to go with {', '.join(curves)}",
                found="T: Pixel table already flux calibrated", remedy=f"Leave {' and '.join(curves)} out.",
            )  # fmt: skip
        elif not calibrated and "STD_RESPONSE" not in curves:
            ctx.problems.add(
                frame.path, f"keyword {FLUX_KEY}", expected="calibrated fluxes, or an input STD_RESPONSE",
                found="Pixel table not flux calibrated", remedy="Add a STD_RESPONSE made by muse_standard.",
            )  # fmt: skip


def _exposure(tables: list[Table], p: ParamValues, ctx: RunContext) -> Reduction:
    """Return the one exposure; several are a fault (C: their rows are laid over each other)."""
    if len({table.date_obs for _, table in tables}) > 1 and ctx.defects.sky_exposures_overlaid:
        ctx.log.error("More than one exposure in sky creation")
        return as_one_exposure(tables, p, ctx)
    return sort_exposures(chosen_exposure(tables, ctx), p, ctx)[0]


def _weights(exposure: Reduction, region: SkyRegion) -> npt.NDArray[np.int64]:
    """Return the number of rows of each slice on the sky, int64[1152]; cosmic rays count, too (as in C)."""
    rows = np.zeros(2048, np.int64)
    for part in exposure.chain.map_blocks(_rows_by_origin, select=region.mask.of_block):
        rows += part
    return rows_by_slice(rows)


def _rows_by_origin(block: Block) -> npt.NDArray[np.int64]:
    return np.bincount(block.origin[block.dq == 0] & 0x7FF, minlength=2048)


def _save(found: NightSky, sky: SkyCalibrations, used: tuple, used_by_model: tuple, ctx: RunContext) -> None:
    """Save the products; only the model of the sky depends on lines and profiles."""
    exposure = found.exposure
    pending = exposure.product.pending
    keep_region(exposure, found.region)
    spectrum = exposure.product.header.copy()  # the one product with the keywords of the pixel table
    for card in limit_cards(exposure.chain.limits()):
        set_card(spectrum, *card)
    pending[-1] = replace(pending[-1], base=spectrum)
    first = len(pending)
    keep_model(exposure, found.fitted, sky, unit_of_c=ctx.defects.unreadable_units)
    if sky.continuum is not None:
        tell_short_continuum(sky.continuum, exposure.chain.files.lambda_limits(), ctx.log)
        given = sky_products.sky_continuum(*sky.continuum, found.continuum_unit)
        pending.append(replace(pending[-1], tag="SKY_CONTINUUM", hdus=given[0], qc=given[1]))
    prefix = ctx.spec.qc_prefix
    for product in pending:
        product.qc[:] = [
            (key.replace(f"{SCIPOST} SKY", prefix).replace(SCIPOST, prefix), value, comment)
            for key, value, comment in product.qc
        ]
    raw = exposure.product.frames
    later = pending[first:]
    del pending[first:]
    save_pending(exposure, (*raw, *used), ctx)
    pending.extend(later)
    save_pending(exposure, (*raw, *used_by_model), ctx)
