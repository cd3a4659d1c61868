# SPDX-License-Identifier: BSD-3-Clause
"""An image of a pixel table: slices against wavelength, what each slice has more than the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.data.exposure import Exposure
from muse_core.data.pixtable import open_pixtable
from muse_core.data.slices import N_IFU, N_KEY, N_SLICE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

BINS = 240
_ROWS = 1 << 19
_DARK = (20.0, 70.0)  # per cent of the rows of a bin, ordered by brightness, that are averaged


def slice_image(
    path: Path, bins: int = BINS
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[tuple[int, int]]]:
    """Average the darker rows of each slice in bins of wavelength.

    Parameters
    ----------
    path : a pixel table

    Returns
    -------
    image : float64[n_slices, n_bins]
        mean of the slice minus the median of all slices; NaN where there are no rows
    edges : float64[n_bins + 1]
        [Angstrom]
    slices : list of (IFU, slice)
        of the rows of the image

    Raises
    ------
    InputError
        if this is no pixel table
    """
    exposure = Exposure([open_pixtable(path)], [1.0], (0.0, 1e6))
    exposure.scan()
    low, high = exposure.lambda_limits()
    edges = np.linspace(low, np.nextafter(high, np.inf), bins + 1)
    limits = _dark_limits(exposure, edges)
    total, count = np.zeros(N_KEY * bins), np.zeros(N_KEY * bins)
    for piece in exposure.chunk_ranges(_ROWS):
        block = exposure.read_range(piece)
        place = np.clip(np.digitize(block.lam, edges) - 1, 0, bins - 1)
        data = block.data.astype(np.float64)
        with np.errstate(invalid="ignore"):
            good = (block.dq == 0) & (data >= limits[0][place]) & (data <= limits[1][place])
        ifu, number = block.origin >> 6 & 0x1F, block.origin & 0x3F
        good &= (ifu >= 1) & (ifu <= N_IFU) & (number >= 1) & (number <= N_SLICE)
        key = (ifu[good].astype(np.int64) - 1) * N_SLICE + number[good] - 1
        cell = key * bins + place[good]
        total += np.bincount(cell, data[good], total.size)
        count += np.bincount(cell, minlength=count.size)
    with np.errstate(divide="ignore", invalid="ignore"):
        image = np.where(count >= 5, total / count, np.nan).reshape(N_KEY, bins)
    there = np.flatnonzero(np.isfinite(image).any(axis=1))
    image = image[there]
    if there.size:
        usable = np.isfinite(image).any(axis=0)
        image[:, usable] -= np.nanmedian(image[:, usable], axis=0)
    return image, edges, [(int(n) // N_SLICE + 1, int(n) % N_SLICE + 1) for n in there]


def slice_figure(image: npt.NDArray[np.float64], edges: npt.NDArray[np.float64], title: str = "") -> Figure:
    """Draw what `slice_image` returns."""
    from matplotlib.figure import Figure

    rows = max(len(image), 1)
    figure = Figure(figsize=(10.5, max(2.8, min(10.0, 0.012 * rows + 2.2))), layout="constrained")
    axes = figure.subplots()
    good = np.abs(image[np.isfinite(image)])
    spread = float(np.percentile(good, 97)) if good.size else 1.0
    drawn = axes.imshow(
        image, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-spread, vmax=spread,
        interpolation="nearest", extent=(edges[0], edges[-1], -0.5, rows - 0.5),
    )  # fmt: skip
    axes.set(xlabel="wavelength [Å]", ylabel="slice (IFU by IFU)", title=title)
    figure.colorbar(drawn, ax=axes, shrink=0.8)
    return figure


def _dark_limits(
    exposure: Exposure, edges: npt.NDArray[np.float64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Limits between which rows are averaged in each bin, from a sample."""
    pieces = exposure.chunk_ranges(1 << 14)
    lam, data = [], []
    for piece in pieces[:: max(1, len(pieces) // 48)]:
        block = exposure.read_range(piece)
        good = (block.dq == 0) & np.isfinite(block.data)
        lam.append(block.lam[good])
        data.append(block.data[good])
    place = np.digitize(np.concatenate(lam), edges) - 1
    values = np.concatenate(data)
    low, high = np.full(len(edges) - 1, -np.inf), np.full(len(edges) - 1, np.inf)
    for number in range(len(edges) - 1):
        own = values[place == number]
        if own.size > 20:
            low[number], high[number] = np.percentile(own, _DARK)
    return low, high
