# SPDX-License-Identifier: BSD-3-Clause
"""Subtraction of sky lines from pixel-table rows with the line-spread function of their slice.

Which rows a line acts on depends on other rows of their slice (see `line_windows`); these are looked at
first, and after that every row can be treated alone::

    windows = LineWindows(lines.lam, lsf.reach)     # ``add`` may be called from several threads
    for block in blocks:                            # only rows inside the range of the continuum
        windows.add(block.lam, block.origin, block.row)
    model = line_model(lines, lsf, windows)
    for block in blocks:
        subtract_curve(block.lam, block.data, continuum)
        subtract_lines(block.lam, block.data, block.origin, block.row, model)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from muse_core.postproc.lsf.images import LsfImage
from muse_core.postproc.lsf.profile_kernels import place_lines
from muse_core.postproc.lsf.tables import LsfTable
from muse_core.postproc.sky.line_kernels import subtract_image_lines, subtract_table_lines
from muse_core.postproc.sky.line_list import SkyLines
from muse_core.postproc.sky.line_windows import LineIndex, LineWindows


@dataclass(frozen=True)
class LineModel:
    """All that is needed to subtract lines from a row; lines are sorted by wavelength.

    Parameters
    ----------
    lam, flux : float64[n]
    upper : look-up of the upper window limits
    bound, place, lowest : where each line begins to act in each slice (`LineWindows.bounds`), and the lowest
        wavelength of each slice
    lsf : the profiles
    first_row, weight : int32[n] and float64[n]; image row of each line, weight of the next row (image
        flavour)
    scale, shift : float64[n_slice, n]   factor and centre of each profile (image flavour)
    terms : float64[n_slice, n, 9]   each profile, see `gauss_hermite.profile_terms` (table flavour)
    """

    lam: npt.NDArray[np.float64]
    flux: npt.NDArray[np.float64]
    upper: LineIndex
    bound: npt.NDArray[np.float32]
    place: npt.NDArray[np.int64]
    lowest: npt.NDArray[np.float32]
    lsf: LsfImage | LsfTable
    first_row: npt.NDArray[np.int32]
    weight: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    shift: npt.NDArray[np.float64]
    terms: npt.NDArray[np.float64]


def line_model(lines: SkyLines, lsf: LsfImage | LsfTable, windows: LineWindows) -> LineModel:
    """Prepare lines and profiles for `subtract_lines`; ``windows`` was made with the same lines."""
    order = np.argsort(lines.lam, kind="stable")
    lam = np.ascontiguousarray(lines.lam[order])
    flux = np.ascontiguousarray(lines.flux[order])
    n = lam.size
    first_row, weight = np.zeros(n, dtype=np.int32), np.zeros(n)
    scale, shift = np.zeros((1, n)), np.zeros((1, n))
    terms = np.zeros((1, n, 9))
    if isinstance(lsf, LsfImage):
        scale, shift = (np.zeros((lsf.total.shape[0], n)) for _ in range(2))
        place_lines(lsf.total, lsf.moment, *lsf.grid(), lam, first_row, weight, scale, shift)
    else:
        terms = lsf.terms(lam)
    return LineModel(
        lam, flux, LineIndex.from_values(lam + windows.reach[1]), *windows.bounds(),
        np.ascontiguousarray(windows.lowest_row), lsf,
        first_row, weight, scale, shift, terms,
    )  # fmt: skip


def subtract_lines(
    lam: npt.NDArray[np.float32],
    data: npt.NDArray[np.float32],
    origin: npt.NDArray[np.int32],
    row: npt.NDArray[np.int64],
    model: LineModel,
) -> None:
    """Subtract all lines from the rows of a block, in place; slices without profile stay as they are."""
    upper, lsf = model.upper, model.lsf
    common = (
        lam, data, origin, row, model.lam, model.flux, upper.value, upper.first, upper.start, model.bound,
        model.place, model.lowest, lsf.row,
    )  # fmt: skip
    if isinstance(lsf, LsfImage):
        x_first, x_step, _, _ = lsf.grid()
        margin = x_step + float(np.abs(model.shift).max(initial=0.0))
        subtract_image_lines(
            *common, lsf.samples, x_first, x_step, margin, model.first_row,
            model.weight, model.scale, model.shift,
        )  # fmt: skip
    else:
        subtract_table_lines(*common, lsf.reach[0], model.terms)
