# SPDX-License-Identifier: BSD-3-Clause
"""The step of muse_scipost that calibrates the slices against each other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from astropy.io import fits

from muse_core.data.block import Block
from muse_core.data.header_values import seven_digits, uses_laser_guide_stars
from muse_core.framework.binary_table import BinaryTable
from muse_core.postproc.autocalibration.calibrations import AutocalCalibrations, load
from muse_core.postproc.autocalibration.factors import (
    AutocalModel,
    SliceSums,
    fit_autocal,
    near_raman_peak,
    range_edges,
)
from muse_core.postproc.autocalibration.mask import AutocalMask, fit_autocal_mask, fit_object_free_mask
from muse_core.postproc.autocalibration.tested_factors import fit_tested_factors
from muse_core.postproc.exposure.correction import Card, Skipped
from muse_core.postproc.exposure.reduction import PIXTABLE, PendingProduct, without_pixtable_keys
from muse_core.postproc.white_light.given_mask import Selector, given_mask
from muse_core.postproc.white_light.image import WhiteImage, make_white_image, pixel_wcs_cards
from muse_core.postproc.white_light.sky_mask import SkyMask
from muse_core.resampling.cosmics import COSMIC_RAY

if TYPE_CHECKING:
    from muse_core.data.row_set import RowSet
    from muse_core.framework import ParamValues, RunContext
    from muse_core.framework.defects import Defects
    from muse_core.postproc.exposure.reduction import Reduction

__all__ = ["correct", "flag", "load"]


def correct(
    exposure: Reduction, calibrations: AutocalCalibrations, p: ParamValues, ctx: RunContext
) -> AutocalModel | Skipped | None:
    """Calibrate the slices of one exposure against each other, by the method asked for.

    The white-light image is kept for the sky subtraction and for `flag` (none with a SKY_MASK).
    """
    if p.autocalib == "none":
        return None
    if f"{PIXTABLE} AUTOCAL" in exposure.product.header:
        ctx.log.info("pixel table is already autocalibrated")
        return None
    if p.autocalib == "deepfield":
        return _deep_field(exposure, calibrations, p, ctx)
    if calibrations.factors is None:
        return Skipped("autocalibration", "no usable AUTOCAL_FACTORS", wanted=True)
    return calibrations.factors


def flag(exposure: Reduction, _calibrations: object, _p: ParamValues, _ctx: RunContext) -> CosmicFlags | None:
    """Flag the cosmic rays that were found on the way."""
    white = exposure.white_image
    return None if white is None else CosmicFlags(white.cosmics)


@dataclass(frozen=True)
class CosmicFlags:
    """Cosmic rays of the white-light image.

    Measured against 2.8.7: these flags stay in the table (those of the sky and Raman steps do not), but the
    sky step in between takes no notice of them.
    """

    name: ClassVar[str] = "cosmic rays"
    moves: ClassVar[bool] = False
    stretch: ClassVar[float] = 1.0

    rows: RowSet

    def apply(self, block: Block) -> None:
        """Flag the rows of a block."""
        block.dq[self.rows.contains(block.row)] |= COSMIC_RAY

    def cards(self) -> list[Card]:
        """Nothing to tell."""
        return []


def _deep_field(
    exposure: Reduction, calibrations: AutocalCalibrations, p: ParamValues, ctx: RunContext
) -> AutocalModel:
    """Return factors from the sky of the exposure itself."""
    product = exposure.product
    selected = given_mask(exposure, calibrations.mask, ctx)
    header = without_pixtable_keys(product.header)
    keep = "autocal" in p.save
    if selected is None:
        white = make_white_image(
            exposure.chain,
            exposure.chain.limits(),
            p.sky_crsigma[0],
            ctx.memory_bytes,
            ctx.defects,
            use_variance=p.collapse_use_variance,
            progress=ctx.progress,
            kept=ctx.kept,
            name=f"exposure {exposure.number}: white-light image for the autocalibration",
        )
        exposure.white_image = white
        if ctx.defects.factors_untested:
            mask = fit_autocal_mask(white.image, np.isfinite(white.image))
        else:
            mask = fit_object_free_mask(white.image)
        selected = _selector(mask, white, ctx.defects)
        if keep:
            hdus = mask_product(mask, white, product.data_unit)
            product.pending.append(PendingProduct("AUTOCAL_MASK", hdus, mask.qc(), base=header))
    sums = sum_slices(exposure, selected, p.autocal_exclude_raman)
    qc: list[Card] = []
    if ctx.defects.factors_untested:
        model = fit_autocal(sums, ctx.log)
    else:
        found = fit_tested_factors(sums, ctx.log)
        model, qc = found.model, found.qc()
    if keep:
        hdus = factors_product(model)
        product.pending.append(PendingProduct("AUTOCAL_FACTORS", hdus, qc, base=header))
    return model


def _selector(mask: AutocalMask, white: WhiteImage, defects: Defects) -> Selector:
    """Return which rows are on sky; flagged ones and cosmic rays do not count (in the C recipe they do)."""
    sky = SkyMask(mask.mask, "linear", crval=white.corner)
    if defects.factors_untested:
        return lambda block: sky.select(block.xpos, block.ypos)
    return lambda block: sky.select(block.xpos, block.ypos) & white.good(block)


def sum_slices(exposure: Reduction, selected: Selector, half_width: float) -> SliceSums:
    """Return the sums over the selected rows of an exposure.

    Parameters
    ----------
    half_width : with lasers, rows nearer than this to a Raman peak [Angstrom] are left out
    """
    excluded = half_width if uses_laser_guide_stars(exposure.product.header) else 0.0
    empty = partial(SliceSums, range_edges(exposure.product.header))
    return exposure.chain.total(empty, OnSky(selected, excluded).add)


@dataclass(frozen=True)
class OnSky:
    """Adds the rows on sky to the sums of the slices.

    Parameters
    ----------
    excluded : rows nearer than this to a Raman peak [Angstrom] are left out; 0: none
    """

    selected: Selector
    excluded: float

    def add(self, total: SliceSums, block: Block) -> None:
        """Add the rows of a block."""
        on_sky = self.selected(block)
        if self.excluded > 0:
            on_sky = on_sky & ~near_raman_peak(block.lam, self.excluded)
        total.add(block.lam, block.data, block.origin, on_sky)


def mask_product(mask: AutocalMask, white: WhiteImage, data_unit: str) -> fits.HDUList:
    """Build AUTOCAL_MASK: 1 = sky."""
    primary = fits.PrimaryHDU(mask.mask)
    for key, value in pixel_wcs_cards(*white.corner):
        primary.header[key] = value
    primary.header["BUNIT"] = data_unit
    primary.header["HIERARCH ESO DRS MUSE FILTER NAME"] = ("white", "filter name used")
    fraction = seven_digits(white.fraction)
    primary.header["HIERARCH ESO DRS MUSE FILTER FRACTION"] = (fraction, "[%] fraction of filter")
    return fits.HDUList([primary])


def factors_product(model: AutocalModel) -> fits.HDUList:
    """Build AUTOCAL_FACTORS (its primary header has BITPIX 16 in the C pipeline)."""
    primary = fits.PrimaryHDU()
    primary.header["BITPIX"] = 16
    for key, value, comment in model.range_cards():
        primary.header[f"HIERARCH {key}"] = (value, comment)
    columns = [
        fits.Column(name, "1J" if values.dtype.kind == "i" else "1D", array=values)
        for name, values in model.columns().items()
    ]
    return fits.HDUList([primary, BinaryTable.from_columns(columns)])
