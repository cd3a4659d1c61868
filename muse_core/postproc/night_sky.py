# SPDX-License-Identifier: BSD-3-Clause
"""The sky step of muse_scipost: find the sky, make its spectrum, subtract it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.framework import RecipeError
from muse_core.postproc import sky_products
from muse_core.postproc.inputs import Calibrations, Settings
from muse_core.postproc.positioning import apply_position, fit_position
from muse_core.postproc.reduction import Reduction, RowLimits, Step
from muse_core.postproc.sky_mask import SkyMask, fit_sky_mask
from muse_core.postproc.sky_spectrum import SkySpectrum, SkySpectrumSum, subtract_curve
from muse_core.postproc.steps import astrometry_model
from muse_core.postproc.white import WhiteImage, make_white_image
from muse_core.resampling.cube_cards import variance_unit_text

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext

Selector = Callable[[Block], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class SkyRegion:
    """Where the sky of an exposure is, and its mean spectrum.

    Parameters
    ----------
    white : WhiteImage
    mask : SkyMask
        made from the white image
    spectrum : SkySpectrum
    """

    white: WhiteImage
    mask: SkyMask
    spectrum: SkySpectrum


def given_mask(reduction: Reduction, calib: Calibrations, ctx: RunContext) -> Selector | None:
    """Return the selection of rows by an input SKY_MASK, or None if there is none that can be used."""
    mask = calib.sky_mask
    if mask is None:
        return None
    if mask.kind == "unsupported":
        ctx.log.warning(
            "Cannot use mask WCS for pixel selection, unsupported celestial WCS (%s / %s)", *mask.ctype
        )
        return None
    if mask.kind != "celestial":
        return lambda block: mask.select(block.xpos, block.ypos)
    if calib.astrometry is None:
        ctx.log.warning("No ASTROMETRY_WCS was given, pixel selection using mask will be inaccurate!")
    if calib.offsets is None:
        ctx.log.warning(
            "SKY_MASK has celestial coordinates but no OFFSET_LIST was given. Results will likely be inaccurate!"
        )
    projection = astrometry_model(reduction, calib, ctx)
    position = fit_position(reduction.header, calib.offsets, ctx.log, compat=ctx.compat)

    def select(block: Block) -> npt.NDArray[np.bool_]:
        from muse_core.postproc.astrometry import apply_astrometry

        x, y = block.xpos.copy(), block.ypos.copy()
        apply_astrometry(x, y, projection)
        apply_position(x, y, position)
        return mask.select(x.astype(np.float64) + position.crval1, y.astype(np.float64) + position.crval2)

    return select


def find_sky(
    reduction: Reduction, p: ParamValues, settings: Settings, calib: Calibrations, ctx: RunContext
) -> SkyRegion:
    """Make the white-light image, the sky mask and the sky spectrum of an exposure."""
    limits = reduction.limits()
    selected = given_mask(reduction, calib, ctx)
    white = make_white_image(
        reduction,
        limits,
        settings.sky_sigma[0],
        ctx.memory_bytes,
        select=selected,
        progress=ctx.progress,
    )
    mask = fit_sky_mask(
        white.image,
        p.skymodel_fraction,
        p.skymodel_ignore,
        x_low=white.corner[0],
        y_low=white.corner[1],
    )
    ctx.log.info(
        "Creating sky mask for pixels between minimum (%g) and threshold (%g)", mask.low, mask.threshold
    )
    spectrum = sky_spectrum(reduction, limits, mask, white, p.skymodel_sampling, settings.sky_sigma[1])
    if spectrum.lam.size == 0:
        raise RecipeError(
            f"exposure {reduction.number}: no good pixel-table row lies on sky, so no sky spectrum can be made; "
            "check SKY_MASK, skymodel_fraction and skymodel_ignore"
        )
    ctx.log.info("sky spectrum of %d rows, %d rejected", spectrum.n_rows, spectrum.n_clipped)
    return SkyRegion(white, mask, spectrum)


def sky_spectrum(
    reduction: Reduction, limits: RowLimits, mask: SkyMask, white: WhiteImage, sampling: float, sigma: float
) -> SkySpectrum:
    """Return the mean spectrum of the good rows on the mask, high outliers left out."""
    empty = SkySpectrumSum(*limits.lam, sampling)

    def collect(limits_: npt.NDArray[np.float64] | None) -> SkySpectrumSum:
        def add(block: Block) -> SkySpectrumSum:
            part = empty.emptied(limits_)
            good = (block.dq == 0) & mask.select(block.xpos, block.ypos)
            good &= ~white.cosmics.contains(block.row)
            part.add(block.lam, block.data, block.stat, good)
            return part

        total = empty.emptied(limits_)
        for part in reduction.map_blocks(add):
            total.merge(part)
        return total

    total = collect(None)
    above = total.clip_limits(sigma)
    return total.clipped(above) if total.can_clip(above) else collect(above).spectrum()


def save_region(
    region: SkyRegion, reduction: Reduction, settings: Settings, calib: Calibrations, ctx: RunContext
) -> None:
    """Write SKY_IMAGE, SKY_MASK and SKY_SPECTRUM if asked for."""
    if "skymodel" not in settings.save:
        return
    unit = reduction.data_unit
    products = {
        "SKY_IMAGE": sky_products.sky_image(
            region.white.image, *region.white.corner, unit, float(f"{region.white.fraction:.7g}")
        ),
        "SKY_MASK": sky_products.sky_mask(region.mask),
        "SKY_SPECTRUM": sky_products.sky_spectrum(region.spectrum, unit, variance_unit_text(unit)),
    }
    for tag, (hdus, qc) in products.items():
        save_sky_product(tag, hdus, qc, reduction, calib, ctx)


def save_sky_product(tag, hdus, qc, reduction: Reduction, calib: Calibrations, ctx: RunContext) -> None:  # type: ignore[no-untyped-def]
    """Write one product of the sky step of an exposure."""
    ctx.save(
        tag,
        hdus,
        base=reduction.header,
        used=(*reduction.frames, *calib.used),
        qc=qc,
        index=reduction.number,
    )


def subtract_simple(
    reduction: Reduction, p: ParamValues, settings: Settings, calib: Calibrations, ctx: RunContext
) -> None:
    """Subtract the mean sky spectrum as it is (skymethod=simple)."""
    region = find_sky(reduction, p, settings, calib, ctx)
    save_region(region, reduction, settings, calib, ctx)
    curve = region.spectrum.curve()
    reduction.narrow(*curve.range)

    def apply(block: Block) -> None:
        subtract_curve(block.lam, block.data, curve)

    reduction.add(Step("sky", apply))
