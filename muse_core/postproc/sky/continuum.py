# SPDX-License-Identifier: BSD-3-Clause
"""The sky continuum as the mean spectrum of rows without their sky lines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.postproc.sky.line_subtraction import LineModel, line_model, subtract_lines
from muse_core.postproc.sky.line_windows import LineWindows
from muse_core.postproc.sky.mean_spectrum import MeanSpectrum
from muse_core.postproc.sky.spectrum import SkySpectrumSum
from muse_core.postproc.white_light.sky_mask import GoodRows

if TYPE_CHECKING:
    from muse_core.data.block import Block
    from muse_core.postproc.exposure.chain import Chain
    from muse_core.postproc.lsf.images import LsfImage
    from muse_core.postproc.lsf.tables import LsfTable
    from muse_core.postproc.sky.line_list import SkyLines
    from muse_core.postproc.sky.region import SkyRegion

Vector = npt.NDArray[np.float64]


def fit_rows_continuum(
    chain: Chain,
    region: SkyRegion,
    lines: SkyLines,
    lsf: LsfImage | LsfTable,
    sampling: float,
) -> tuple[Vector, Vector]:
    """Return wavelength and flux of the mean of the sky spaxels, lines subtracted before, objects after.

    The lower ends of the line windows, which the C recipe lets depend on the rows, do not matter here.
    """
    model = line_model(lines, lsf, LineWindows(lines.lam, lsf.reach))
    empty = partial(MeanSpectrum, *chain.limits().lam, sampling)
    total = chain.total(empty, WithoutLines(model).add, select=GoodRows(region.white, region.mask))
    lam, flux = total.spectrum()
    return lam, flux - region.objects(lam)


@dataclass(frozen=True)
class WithoutLines:
    """Adds rows to a mean spectrum when their sky lines are subtracted."""

    model: LineModel

    def add(self, total: MeanSpectrum, block: Block) -> None:
        """Add the good rows of a block."""
        subtract_lines(block.lam, block.data, block.origin, block.row, self.model)
        total.add(block.lam, block.data, (block.dq == 0) & np.isfinite(block.data))


def fit_sorted_rows_continuum(
    chain: Chain,
    region: SkyRegion,
    lines: SkyLines,
    lsf: LsfImage | LsfTable,
    sampling: float,
) -> tuple[Vector, Vector]:
    """Return the continuum of the C recipe with LSF tables; no row is rejected here (measured, 2.8.7)."""
    windows = LineWindows(lines.lam, lsf.reach)
    for block in _sorted_sky_rows(chain, region):
        windows.add(block.lam, block.origin, block.row)
    model = line_model(lines, lsf, windows)
    total = SkySpectrumSum(*chain.limits().lam, sampling)
    for block in _sorted_sky_rows(chain, region):
        subtract_lines(block.lam, block.data, block.origin, block.row, model)
        total.add(block.lam, block.data, block.stat, np.ones(len(block), np.bool_))
    spectrum = total.spectrum()
    return spectrum.lam, spectrum.data


def _sorted_sky_rows(chain: Chain, region: SkyRegion) -> Iterator[Block]:
    """Yield the rows the C recipe takes for sky rows.

    It sorts the rows of each slice by wavelength and then takes those at the places where the sky rows
    were before (measured against 2.8.7).
    """
    for piece in chain.files.slice_ranges():
        block = chain.run(chain.files.read_range(piece))
        if chain.good_only:
            block = block.select(block.dq == 0)
        places = region.mask.select(block.xpos, block.ypos)
        order = np.argsort(block.lam, kind="stable")
        # tables that an earlier step (flat-field spectrum, Raman) has sorted keep their rows
        chosen = block.select(order[places[order] if chain.sorted_slices else places])
        yield chosen.select(region.white.good(chosen))
