# SPDX-License-Identifier: BSD-3-Clause
"""The steps of muse_scipost in the order of its documentation: fit from the exposure, then join its chain.

Each function takes a `Reduction`, fits what has to be known, appends the step that applies it, and updates
the header.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from muse_core.data.block import Block
from muse_core.data.header_values import get_float, get_str, seven_digits
from muse_core.data.pixtable_writer import PixelTableWriter, column_units
from muse_core.postproc.astrometry.position import (
    PositionModel,
    apply_flux_scale,
    apply_position,
    fit_position,
)
from muse_core.postproc.astrometry.projection import AstrometryModel, apply_astrometry, fit_astrometry
from muse_core.postproc.exposure.pointing import airmass
from muse_core.postproc.exposure.reduction import PIXTABLE, Reduction, Step, limit_cards
from muse_core.postproc.exposure.row_limits import RowLimits, join_limits
from muse_core.postproc.flux.calibration import apply_flux, fit_flux
from muse_core.postproc.inputs.calibrations import Calibrations, Settings
from muse_core.postproc.refraction.dar import apply_dar, fit_dar, skip_cards
from muse_core.postproc.velocity.radial_velocity import apply_radial_velocity, fit_radial_velocity
from muse_core.resampling.cube_cards import FLUX_UNIT

if TYPE_CHECKING:
    import logging

    from muse_core.framework import ParamValues, RunContext

PREDAR = f"{PIXTABLE} PREDAR LIMITS"
WCS_KEYS = ("CRPIX", "CRVAL", "CTYPE", "CUNIT", "CD1_", "CD2_", "CD3_")


def correct_refraction(reduction: Reduction, p: ParamValues, ctx: RunContext) -> None:
    """Move all rows to their position at the reference wavelength (spec: DAR correction)."""
    model = fit_dar(reduction.pointing, p.lambdaref, ctx.log, compat=ctx.compat)
    if model is None:
        for key, value, comment in skip_cards(reduction.header, p.lambdaref, compat=ctx.compat):
            reduction.set_card(key, value, comment)
        return
    limits = reduction.limits()

    def apply(block: Block) -> None:
        apply_dar(block.xpos, block.ypos, block.lam, model)

    reduction.add(Step("dar", apply, moves=True))
    reduction.set_card(f"{PIXTABLE} DAR CORRECT", model.reference, "[Angstrom] ref. lambda for DAR corr.")
    for key, value in zip(("XLO", "XHI", "YLO", "YHI"), (*limits.x, *limits.y)):
        # the header rounds to seven digits; the astrometry needs the full value
        reduction.set_card(f"{PREDAR} {key}", seven_digits(value))
    reduction.reference_limits = limits


def calibrate_flux(reduction: Reduction, calib: Calibrations, ctx: RunContext) -> None:
    """Turn counts into fluxes by response, extinction and telluric absorption."""
    if calib.response is None:
        ctx.log.info("no STD_RESPONSE, skipping flux calibration")
        return
    model = fit_flux(
        reduction.header,
        airmass(reduction.pointing, ctx.log, compat=ctx.compat),
        calib.response,
        calib.extinction,
        calib.telluric,
        ctx.log,
        compat=ctx.compat,
    )
    if model is None:
        return

    def apply(block: Block) -> None:
        apply_flux(block.lam, block.data, block.stat, block.dq, model)

    reduction.add(Step("flux", apply))
    reduction.set_card(f"{PIXTABLE} FLUXCAL", True, "Pixel table was flux-calibrated")
    reduction.data_unit = FLUX_UNIT


def correct_velocity(reduction: Reduction, kind: str, ctx: RunContext) -> None:
    """Take the wavelengths to the barycentre, the Sun or the Earth's centre."""
    model = fit_radial_velocity(reduction.pointing, kind, ctx.log, compat=ctx.compat)
    if model is None:
        if f"{PIXTABLE} RVCORR" not in reduction.header:
            reduction.set_card("SPECSYS", "TOPOCENT", "Spectral reference frame")
        return

    def apply(block: Block) -> None:
        apply_radial_velocity(block.lam, model)

    reduction.add(Step("velocity", apply, moves=True, stretch=model.factor))
    names = {"bary": "barycentric", "helio": "heliocentric", "geo": "geocentric"}
    reduction.set_card(f"{PIXTABLE} RVCORR", model.velocity, f"[km/s] {names[kind]} correction applied")
    reduction.set_card("SPECSYS", model.specsys, "Spectral reference frame")


def astrometry_model(reduction: Reduction, calib: Calibrations, ctx: RunContext) -> AstrometryModel:
    """Return the projection of an exposure from its limits before the refraction correction."""
    limits = reduction.reference_limits or predar_limits(reduction) or reduction.limits()
    return fit_astrometry(
        reduction.pointing, (*limits.x, *limits.y), calib.astrometry, ctx.log, compat=ctx.compat
    )


def predar_limits(reduction: Reduction) -> RowLimits | None:
    """Return the limits before the refraction correction from the header of a corrected table."""
    values = [get_float(reduction.header, f"{PREDAR} {key}") for key in ("XLO", "XHI", "YLO", "YHI")]
    if any(value is None for value in values):
        return None
    xlo, xhi, ylo, yhi = (float(v) for v in values if v is not None)
    return RowLimits((xlo, xhi), (ylo, yhi), (0.0, 0.0), (0, 0), (0, 0))


def apply_world_coordinates(reduction: Reduction, calib: Calibrations, ctx: RunContext) -> None:
    """Project the rows onto the sphere by the astrometric solution."""
    state = get_str(reduction.header, f"{PIXTABLE} WCS") or ""
    if state.startswith(("projected", "positioned")):
        ctx.log.info("pixel table is already projected, astrometry not applied again")
        return
    model = astrometry_model(reduction, calib, ctx)

    def apply(block: Block) -> None:
        apply_astrometry(block.xpos, block.ypos, model)

    reduction.add(Step("astrometry", apply, moves=True))
    for key, value, comment in model.cards():
        reduction.set_card(key, value, comment)
    reduction.set_card(
        f"{PIXTABLE} WCS", "projected (intermediate)", "Gnomonic projection applied to this table"
    )
    reduction.position_unit = "rad"


def position_on_sky(reduction: Reduction, calib: Calibrations, ctx: RunContext) -> PositionModel:
    """Turn native into celestial coordinates, with the exposure's offset and flux scale."""
    state = get_str(reduction.header, f"{PIXTABLE} WCS") or ""
    if state.startswith("positioned"):
        return PositionModel(float(reduction.header["CRVAL1"]), float(reduction.header["CRVAL2"]), 1.0, None)
    model = fit_position(reduction.pointing, calib.offsets, ctx.log, compat=ctx.compat)

    def apply(block: Block) -> None:
        apply_position(block.xpos, block.ypos, model)
        apply_flux_scale(block.data, block.stat, model)

    reduction.add(Step("position", apply, moves=True))
    reduction.set_card("CRVAL1", model.crval1)
    reduction.set_card("CRVAL2", model.crval2)
    reduction.set_card(f"{PIXTABLE} WCS", "positioned (final)", "Positioned this pixel table on the sky")
    reduction.position_unit = "deg"
    return model


def save_pixtable(
    reduction: Reduction,
    tag: str,
    limits: RowLimits,
    calib: Calibrations,
    ctx: RunContext,
    extra: Iterable = (),
) -> None:
    """Write the exposure as it is now."""
    ctx.log.info('Saving pixel table as "%s"', ctx.file_name(tag, reduction.number))
    with ctx.stream(
        tag,
        base=reduction.header,
        used=(*reduction.frames, *calib.used),
        extra=(*extra, *limit_cards(limits)),
        index=reduction.number,
    ) as product:
        units = column_units(reduction.position_unit, reduction.data_unit)
        PixelTableWriter(product.path, product.header, reduction.exposure.rows, units).write_all(
            reduction.blocks()
        )
        reduction.append_tables(product.path)


def save_pending(reduction: Reduction, calib: Calibrations, ctx: RunContext) -> None:
    """Write the products that the steps of this exposure have left (sky, autocalibration, Raman)."""
    for product in reduction.pending:
        base = product.base
        if base is None:
            base = reduction.header.copy()
            dropped = (PIXTABLE,) if product.with_wcs else (PIXTABLE, *WCS_KEYS)
            for key in [key for key in base if key.startswith(dropped)]:
                del base[key]
        ctx.save(
            product.tag,
            product.hdus,
            base=base,
            used=(*reduction.frames, *calib.used),
            qc=product.qc,
            index=reduction.number,
        )
    reduction.pending.clear()


def table_limits(reduction: Reduction, ctx: RunContext) -> RowLimits:
    """Return the limits of an exposure; compat: unprojected, those in wavelength stay (as in C)."""
    limits = reduction.limits()
    if ctx.compat and reduction.position_unit == "pix":
        return replace(limits, lam=reduction.exposure.lambda_limits())
    return limits


def save_reduced(reduction: Reduction, settings: Settings, calib: Calibrations, ctx: RunContext) -> None:
    """Write PIXTABLE_REDUCED if asked for."""
    if "individual" in settings.save:
        save_pixtable(reduction, "PIXTABLE_REDUCED", table_limits(reduction, ctx), calib, ctx)
        if ctx.compat:  # the C recipe forgets MUSE_SUPERFLAT_POS when it saves this table
            reduction.overrides = {}


def save_positioned(
    reduction: Reduction,
    positions: list[PositionModel],
    settings: Settings,
    calib: Calibrations,
    ctx: RunContext,
) -> None:
    """Write PIXTABLE_POSITIONED if asked for; its limits are full coordinates (pixels without astrometry)."""
    if "positioned" not in settings.save:
        return
    if not positions:
        save_pixtable(reduction, "PIXTABLE_POSITIONED", table_limits(reduction, ctx), calib, ctx)
        return
    model = positions[-1]
    limits = reduction.limits().shifted(model.crval1, model.crval2)
    save_pixtable(reduction, "PIXTABLE_POSITIONED", limits, calib, ctx, offset_cards(model, 1))


def offset_cards(model: PositionModel, number: int) -> list[tuple[str, object, str]]:
    """Return the keywords of the offset applied to an exposure."""
    if model.offset is None:
        return []
    ra, dec = model.offset.ra_offset, model.offset.dec_offset
    head = f"ESO DRS MUSE OFFSET{number}"
    cards: list[tuple[str, object, str]] = [
        (f"{head} DRA", ra, f"[deg] (= {ra * 3600:f} arcsec) RA offset applied"),
        (f"{head} DDEC", dec, f"[deg] (= {dec * 3600:f} arcsec) DEC offset applied"),
    ]
    if model.offset.flux_scale is not None:
        cards.append(
            (f"ESO DRS MUSE FLUX SCALE{number}", model.offset.flux_scale, "flux scale factor applied")
        )
    cards.append((f"{head} DATE-OBS", model.offset.date_obs, f"offset {number} applies to this exposure"))
    return cards


def log_exposure(reduction: Reduction, log: logging.Logger) -> None:
    """Say which exposure comes next."""
    log.info(
        "Starting to process exposure %d (DATE-OBS=%s): %d rows of %d IFUs",
        reduction.number,
        get_str(reduction.header, "DATE-OBS"),
        reduction.exposure.rows,
        len(reduction.exposure.files),
    )


__all__ = [
    "apply_world_coordinates",
    "astrometry_model",
    "calibrate_flux",
    "correct_refraction",
    "correct_velocity",
    "join_limits",
    "log_exposure",
    "position_on_sky",
    "save_pending",
    "save_positioned",
    "save_reduced",
]
