# SPDX-License-Identifier: BSD-3-Clause
"""The sky continuum as the mean spectrum of rows without their sky lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.framework.settings import switched_on
from muse_core.postproc.sky.line_subtraction import line_model, subtract_lines
from muse_core.postproc.sky.line_windows import LineWindows
from muse_core.postproc.sky.mean_spectrum import MeanSpectrum
from muse_core.postproc.sky.sample import fit_sky_sample
from muse_core.postproc.sky.spectrum import SkySpectrumSum
from muse_core.postproc.white_light.sky_mask import SkyMask

if TYPE_CHECKING:
    from muse_core.data.block import Block
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.lsf.images import LsfImage
    from muse_core.postproc.lsf.tables import LsfTable
    from muse_core.postproc.sky.line_list import SkyLines
    from muse_core.postproc.sky.region import SkyRegion

ROWS_VARIABLE = "MUSE_SKY_CONTINUUM_FROM_ROWS"
Vector = npt.NDArray[np.float64]


def continuum_from_rows() -> bool:
    """Tell whether MUSE_SKY_CONTINUUM_FROM_ROWS asks for this continuum also with LSF images."""
    return switched_on(os.environ.get(ROWS_VARIABLE, ""))


def fit_rows_continuum(
    reduction: Reduction,
    region: SkyRegion,
    lines: SkyLines,
    lsf: LsfImage | LsfTable,
    sampling: float,
) -> tuple[Vector, Vector]:
    """Return wavelength and flux of the mean of all spaxels that look like sky, lines subtracted before.

    The lower ends of the line windows, which the C recipe lets depend on the rows, do not matter here.
    """
    model = line_model(lines, lsf, LineWindows(lines.lam, lsf.reach))
    total = MeanSpectrum(*reduction.limits().lam, sampling)
    sample = sky_sample(region)

    def like_sky(block: Block) -> npt.NDArray[np.bool_]:
        return region.white.good(block) & sample.select(block.xpos, block.ypos)

    def add(block: Block) -> None:
        subtract_lines(block.lam, block.data, block.origin, block.row, model)
        total.add(block.lam, block.data, (block.dq == 0) & np.isfinite(block.data))

    for _ in reduction.map_selected(like_sky, add):
        pass
    return total.spectrum()


def sky_sample(region: SkyRegion) -> SkyMask:
    """Return the spaxels that look like sky (see `sky_sample.fit_sky_sample`)."""
    mask, spectrum = region.mask, region.spectrum
    rows_of_spaxel = spectrum.n_rows / max(mask.n_sky, 1)
    noise = float(np.sqrt(spectrum.stat.mean() / rows_of_spaxel))
    pixels = fit_sky_sample(region.white.image, mask.mask, noise)
    return SkyMask(pixels, mask.kind, mask.crpix, mask.crval, mask.cd)


def fit_sorted_rows_continuum(
    reduction: Reduction,
    region: SkyRegion,
    lines: SkyLines,
    lsf: LsfImage | LsfTable,
    sampling: float,
) -> tuple[Vector, Vector]:
    """Return the continuum of the C recipe with LSF tables; no row is rejected here (measured, 2.8.7)."""
    windows = LineWindows(lines.lam, lsf.reach)
    for block in _sorted_sky_rows(reduction, region):
        windows.add(block.lam, block.origin, block.row)
    model = line_model(lines, lsf, windows)
    total = SkySpectrumSum(*reduction.limits().lam, sampling)
    for block in _sorted_sky_rows(reduction, region):
        subtract_lines(block.lam, block.data, block.origin, block.row, model)
        total.add(block.lam, block.data, block.stat, np.ones(len(block), np.bool_))
    spectrum = total.spectrum()
    return spectrum.lam, spectrum.data


def _sorted_sky_rows(reduction: Reduction, region: SkyRegion) -> Iterator[Block]:
    """Yield the rows the C recipe takes for sky rows.

    It sorts the rows of each slice by wavelength and then takes those at the places where the sky rows
    were before (measured against 2.8.7).
    """
    for piece in reduction.exposure.slice_ranges():
        block = reduction.run(reduction.exposure.read_range(piece))
        places = region.mask.select(block.xpos, block.ypos)
        order = np.argsort(block.lam, kind="stable")
        # tables that an earlier step (flat-field spectrum, Raman) has sorted keep their rows
        chosen = block.select(order[places[order] if reduction.sorted_slices else places])
        yield chosen.select(region.white.good(chosen))
