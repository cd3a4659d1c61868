# SPDX-License-Identifier: BSD-3-Clause
"""Where the sky of an exposure is, and its mean spectrum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.framework import RecipeError
from muse_core.postproc.exposure.chain import Chain
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.postproc.sky.spectrum import SkySpectrum, SkySpectrumSum
from muse_core.postproc.white_light.given_mask import given_mask
from muse_core.postproc.white_light.image import WhiteImage, make_white_image
from muse_core.postproc.white_light.sky_mask import SkyMask, fit_sky_mask

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.white_light.calibrations import MaskCalibrations


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


def find_sky(
    exposure: Reduction,
    given: MaskCalibrations,
    p: ParamValues,
    ctx: RunContext,
    white: WhiteImage | None = None,
) -> SkyRegion:
    """Make the white-light image (unless it is given), the sky mask and the sky spectrum of an exposure."""
    chain = exposure.chain
    limits = chain.limits()
    sigma_image, sigma_spectrum = p.sky_crsigma[:2]
    if white is None:
        selected = given_mask(exposure, given, ctx)
        white = make_white_image(
            chain,
            limits,
            sigma_image,
            ctx.memory_bytes,
            ctx.defects,
            use_variance=p.collapse_use_variance,
            select=selected,
            progress=ctx.progress,
        )
        if selected is not None and given.mask is not None and not ctx.defects.mask_misses_field:
            given.mask.check_overlap()
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
    spectrum = sky_spectrum(chain, limits, mask, white, p.skymodel_sampling, sigma_spectrum)
    if spectrum.lam.size == 0:
        raise RecipeError(
            f"exposure {exposure.number}: no good pixel-table row lies on sky, so no sky spectrum can be "
            "made; check SKY_MASK, skymodel_fraction and skymodel_ignore"
        )
    ctx.log.info("sky spectrum of %d rows, %d rejected", spectrum.n_rows, spectrum.n_clipped)
    return SkyRegion(white, mask, spectrum)


def sky_spectrum(
    chain: Chain,
    limits: RowLimits,
    mask: SkyMask,
    white: WhiteImage,
    sampling: float,
    sigma: float,
) -> SkySpectrum:
    """Return the mean spectrum of the good rows on the mask, high outliers left out."""
    empty = SkySpectrumSum(*limits.lam, sampling)

    def collect(limits_: npt.NDArray[np.float64] | None) -> SkySpectrumSum:
        total = empty.emptied(limits_)

        def on_sky(block: Block) -> npt.NDArray[np.bool_]:
            return white.good(block) & mask.select(block.xpos, block.ypos)

        def add(block: Block) -> None:
            total.add(block.lam, block.data, block.stat, block.dq == 0)

        for _ in chain.map_selected(on_sky, add):
            pass
        return total

    total = collect(None)
    above = total.clip_limits(sigma)
    return total.clipped(above) if total.can_clip(above) else collect(above).spectrum()
