# SPDX-License-Identifier: BSD-3-Clause
"""Where the sky of an exposure is, and its mean spectrum."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.block import Block
from muse_core.framework import RecipeError
from muse_core.postproc.exposure.chain import Chain
from muse_core.postproc.exposure.row_limits import RowLimits
from muse_core.postproc.sky.empty_sky import MOSTLY_SMOOTH, EmptySky, fit_empty_sky
from muse_core.postproc.sky.nebular_lines import NOTHING, NebularLines, find_nebular_lines
from muse_core.postproc.sky.object_spectrum import NO_OBJECTS, ObjectSpectrum, ObjectSums
from muse_core.postproc.sky.sample import SkySample, fit_sky_sample
from muse_core.postproc.sky.spectrum import SkySpectrum, SkySpectrumSum
from muse_core.postproc.white_light.given_mask import check_overlap, given_mask
from muse_core.postproc.white_light.image import WhiteImage, make_white_image
from muse_core.postproc.white_light.sky_mask import GoodRows, SkyMask, fit_sky_mask

if TYPE_CHECKING:
    from muse_core.framework import ParamValues, RunContext
    from muse_core.postproc.exposure.correction import Card
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.white_light.calibrations import MaskCalibrations


SKY_EMPTY = "Part of the field is empty sky"
MOSTLY_SKY = 0.1
"""Light of objects over that of the sky, up to which a spaxel counts as faint."""


@dataclass(frozen=True)
class SkyRegion:
    """Where the sky of an exposure is, and its mean spectrum.

    Parameters
    ----------
    white : WhiteImage
    mask : SkyMask
        spaxels that are taken for the sky
    spectrum : SkySpectrum
        mean of the rows on them, without the light of objects
    sample : SkySample or None
        how the spaxels were chosen; None: they are the darkest ones
    objects : ObjectSpectrum
        light of objects that was in the mean
    empty : EmptySky or None
        whether there is empty sky at all
    gas : NebularLines
        lines of a nebula in the spectrum
    """

    white: WhiteImage
    mask: SkyMask
    spectrum: SkySpectrum
    sample: SkySample | None = None
    objects: ObjectSpectrum = NO_OBJECTS
    empty: EmptySky | None = None
    gas: NebularLines = NOTHING

    @property
    def is_filled(self) -> bool:
        """Whether a nebula or a galaxy lies over the whole field, so that its light is taken for sky."""
        spread = self.empty is not None and not self.empty.found and self.empty.smooth >= MOSTLY_SMOOTH
        return spread or bool(self.gas.width)

    def faint_mask(self) -> SkyMask:
        """Return all spaxels in which the sky is by far the most."""
        image = self.white.image
        level = float(np.nanmedian(image[self.mask.mask != 0]))
        with np.errstate(invalid="ignore"):
            faint = image < level + MOSTLY_SKY * abs(level)
        return replace(self.mask, mask=faint.astype(np.uint8))

    def qc(self) -> list[Card]:
        """Return what the product SKY_MASK tells of the choice."""
        if self.sample is None:
            return []
        level = float(np.median(self.spectrum.data))
        light = 100.0 * float(np.median(self.objects.flux)) / level if level else 0.0
        cards: list[Card] = [
            ("ESO QC SCIPOST SKY OBJECTS", light, "[%] Object light in mean of sky, taken out"),
            ("ESO QC SCIPOST SKY EXCESS", 100.0 * self.sample.excess, "[%] Field above its darkest part"),
        ]
        if self.empty is not None and self.empty.known:
            spread = 100.0 * self.empty.third
            cards.append(("ESO QC SCIPOST SKY SPREAD", spread, "[%] A third of the field above its darkest"))
        cards.append(("ESO QC SCIPOST SKY NEBULA", self.gas.total, "[Angstrom] Lines of a nebula over sky"))
        return cards


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
            kept=ctx.kept,
            name=f"exposure {exposure.number}: white-light image for the sky",
        )
        if selected is not None and given.mask is not None and not ctx.defects.mask_misses_field:
            check_overlap(selected, given.mask, chain)
    image = white.image if white.quiet is None else white.quiet
    mask = fit_sky_mask(
        image,
        p.skymodel_fraction,
        p.skymodel_ignore,
        x_low=white.corner[0],
        y_low=white.corner[1],
    )
    sample, empty = None, None
    if not ctx.defects.darkest_spaxels_as_sky:
        sample = fit_sky_sample(image, mask.mask)
        mask = _mask_of_sample(sample, mask, white.image)
        empty = fit_empty_sky(image)
        if sample.excess > 0.0:
            ctx.log.warning(
                "exposure %d: most of the field is %.1f %% brighter than its darkest part, which is taken as "
                "sky and may hold light of objects, too. Give a SKY_MASK, or the model of a sky exposure "
                "(skymethod=subtract-model)",
                exposure.number,
                100.0 * sample.excess,
            )
    ctx.log.info(
        "Creating sky mask for pixels between minimum (%g) and threshold (%g)", mask.low, mask.threshold
    )

    def spectra() -> tuple[SkySpectrum, ObjectSpectrum]:
        sums = None if sample is None else ObjectSums(sample, mask, limits.lam, p.skymodel_sampling, image)
        spectrum = sky_spectrum(chain, limits, mask, white, p.skymodel_sampling, sigma_spectrum, sums)
        if spectrum.lam.size == 0:
            raise RecipeError(
                f"exposure {exposure.number}: no good pixel-table row lies on sky, so no sky spectrum can be "
                "made; check SKY_MASK, skymodel_fraction and skymodel_ignore"
            )
        ctx.log.info("sky spectrum of %d rows, %d rejected", spectrum.n_rows, spectrum.n_clipped)
        objects = NO_OBJECTS if sums is None else sums.spectrum(ctx.log)
        if objects is not NO_OBJECTS:
            spectrum = replace(spectrum, data=spectrum.data - objects(spectrum.lam))
        return spectrum, objects

    spectrum, objects = ctx.kept.once(f"exposure {exposure.number}: sky spectrum", spectra)
    if empty is None:
        return SkyRegion(white, mask, spectrum)
    gas = find_nebular_lines(spectrum.lam, spectrum.data)
    _tell_empty(empty, gas, exposure, ctx)
    return SkyRegion(white, mask, spectrum, sample, objects, empty, gas)


def _tell_empty(empty: EmptySky, gas: NebularLines, exposure: Reduction, ctx: RunContext) -> None:
    """Say whether there is empty sky in the field."""
    if gas.width:
        text = (
            f"exposure {exposure.number}: the spectrum of the sky has emission lines of a nebula (at "
            f"{gas.velocity:.0f} km/s): {gas}. They are subtracted with the sky, and with them whatever "
            "else the nebula shines where the sky was taken. Give the sky of a sky exposure "
            "(skymethod=subtract-model with its SKY_LINES and SKY_CONTINUUM), or a SKY_MASK without nebula"
        )
        ctx.undone("SKY EMPTY", text, SKY_EMPTY)
    elif empty.known and empty.found:
        ctx.flag("SKY EMPTY", True, SKY_EMPTY)
    if not empty.found:
        what = "a nebula or a galaxy fills it" if empty.smooth >= MOSTLY_SMOOTH else "stars fill it"
        text = (
            f"exposure {exposure.number}: no empty sky in the field, it seems that {what}: "
            f"most of it is brighter than its darkest part by {100.0 * empty.third:.1f} % or more. "
            "The sky that is subtracted holds light of objects. Give the sky of a sky exposure "
            "(skymethod=subtract-model with its SKY_LINES and SKY_CONTINUUM), or a SKY_MASK"
        )
        ctx.undone("SKY EMPTY", text, SKY_EMPTY)


def _mask_of_sample(sample: SkySample, dark: SkyMask, image: npt.NDArray[np.float32]) -> SkyMask:
    """Return the spaxels of a sample as a mask, with the limits between which they lie."""
    values = image[sample.mask != 0]
    return replace(dark, mask=sample.mask, low=float(values.min()), threshold=float(values.max()))


def sky_spectrum(
    chain: Chain,
    limits: RowLimits,
    mask: SkyMask,
    white: WhiteImage,
    sampling: float,
    sigma: float,
    objects: ObjectSums | None = None,
) -> SkySpectrum:
    """Return the mean spectrum of the good rows on the mask, high outliers left out.

    Parameters
    ----------
    objects : ObjectSums or None
        takes the rows, too, if it wants them
    """
    on_sky = GoodRows(white, mask)
    empty = SkySpectrumSum(*limits.lam, sampling)
    wanted = objects if objects is not None and objects.wanted else None
    select = on_sky
    if wanted is not None and wanted.beside is not None:
        select = GoodRows(white, replace(mask, mask=mask.mask | wanted.beside.mask))
    both = chain.total(partial(_SkySums, empty, None, wanted), _SkySums.add, select=select)
    total = both.spectrum
    if wanted is not None and both.objects is not None:
        wanted.merge(both.objects)
    above = total.clip_limits(sigma)
    if total.can_clip(above):
        return total.clipped(above)
    return chain.total(partial(_SkySums, empty, above), _SkySums.add, select=on_sky).spectrum.spectrum()


class _SkySums:
    """Sums of the rows on sky: for its spectrum, and for the light of objects.

    Parameters
    ----------
    like : SkySpectrumSum
        with the bins that are wanted
    limits : float64[n] or None
        rows above these values are left out
    objects : ObjectSums or None
        empty sums that are wanted, too
    """

    def __init__(
        self,
        like: SkySpectrumSum,
        limits: npt.NDArray[np.float64] | None = None,
        objects: ObjectSums | None = None,
    ) -> None:
        self.spectrum = like.emptied(limits)
        self.objects = copy.deepcopy(objects)

    def add(self, block: Block) -> None:
        """Add the good rows of a block."""
        good = block.dq == 0
        if self.objects is not None:
            good &= self.objects.add(block.xpos, block.ypos, block.lam, block.data, good)
        self.spectrum.add(block.lam, block.data, block.stat, good)

    def merge(self, other: _SkySums) -> None:
        """Add what another one has collected."""
        self.spectrum.merge(other.spectrum)
        if self.objects is not None and other.objects is not None:
            self.objects.merge(other.objects)
