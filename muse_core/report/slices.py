# SPDX-License-Identifier: BSD-3-Clause
"""An image of a pixel table: slices against wavelength, what each slice has more than the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class SliceNumbers:
    """What a pixel table says of its slices.

    Parameters
    ----------
    image : float64[n_slices, n_bins]
        mean of the slice minus the median of all slices; NaN where there are no rows
    edges : float64[n_bins + 1]
        [Angstrom]
    slices : list of (IFU, slice)
        of the rows of the image
    rows, flagged : int64[24]
        rows of each IFU, and how many of them carry a flag
    """

    image: npt.NDArray[np.float64]
    edges: npt.NDArray[np.float64]
    slices: list[tuple[int, int]]
    rows: npt.NDArray[np.int64]
    flagged: npt.NDArray[np.int64]


def slice_image(
    path: Path, bins: int = BINS
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], list[tuple[int, int]]]:
    """Return image, edges and slices of `measure_slices`."""
    found = measure_slices(path, bins)
    return found.image, found.edges, found.slices


def measure_slices(path: Path, bins: int = BINS) -> SliceNumbers:
    """Average the darker rows of each slice in bins of wavelength.

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
    rows, flagged = np.zeros(N_IFU, np.int64), np.zeros(N_IFU, np.int64)
    for piece in exposure.chunk_ranges(_ROWS):
        block = exposure.read_range(piece)
        place = np.clip(np.digitize(block.lam, edges) - 1, 0, bins - 1)
        data = block.data.astype(np.float64)
        with np.errstate(invalid="ignore"):
            good = (block.dq == 0) & (data >= limits[0][place]) & (data <= limits[1][place])
        ifu, number = block.origin >> 6 & 0x1F, block.origin & 0x3F
        known = (ifu >= 1) & (ifu <= N_IFU) & (number >= 1) & (number <= N_SLICE)
        rows += np.bincount(ifu[known] - 1, minlength=N_IFU)
        flagged += np.bincount(ifu[known & (block.dq != 0)] - 1, minlength=N_IFU)
        good &= known
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
    names = [(int(n) // N_SLICE + 1, int(n) % N_SLICE + 1) for n in there]
    return SliceNumbers(image, edges, names, rows, flagged)


def slice_figure(
    image: npt.NDArray[np.float64],
    edges: npt.NDArray[np.float64],
    title: str = "",
    slices: Sequence[tuple[int, int]] = (),
) -> Figure:
    """Draw what `slice_image` returns; with slices the vertical axis tells the IFUs."""
    from matplotlib.figure import Figure

    rows = max(len(image), 1)
    figure = Figure(figsize=(10.0, max(2.8, min(8.0, 0.008 * rows + 2.2))), layout="constrained")
    axes = figure.subplots()
    good = np.abs(image[np.isfinite(image)])
    spread = float(np.percentile(good, 97)) if good.size else 1.0
    drawn = axes.imshow(
        image, origin="lower", aspect="auto", cmap="RdBu_r", vmin=-spread, vmax=spread,
        interpolation="nearest", extent=(edges[0], edges[-1], -0.5, rows - 0.5),
    )  # fmt: skip
    axes.set(xlabel="wavelength [Å]", ylabel="slice (IFU by IFU)", title=title)
    if slices:
        ifus = np.array([ifu for ifu, _ in slices])
        for ifu in np.unique(ifus):
            own = np.flatnonzero(ifus == ifu)
            axes.axhline(own[0] - 0.5, color="0.4", lw=0.5)
        axes.set_yticks([np.flatnonzero(ifus == ifu).mean() for ifu in np.unique(ifus)], np.unique(ifus))
        axes.tick_params(axis="y", length=0, labelsize=8)
        axes.set_ylabel("IFU, slice by slice")
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="difference from the median slice")
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
