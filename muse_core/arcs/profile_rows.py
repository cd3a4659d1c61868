# SPDX-License-Identifier: BSD-3-Clause
"""The rows of arc lines of one slice that make its line profile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.arcs.catalog import LineCatalog
from muse_core.arcs.profile_row_kernels import FITTED, NO_ROW, gather_line, mark_near, measure_line
from muse_core.arcs.solution import valid_wavelengths
from muse_core.detector.image import Image

Floats = npt.NDArray[np.float64]
LEAST_ROWS = 101
LEAST_SIGNAL = 50.0  # flux over the noise of a row; measured against 2.8.7
SIGMAS = (0.7, 3.0)  # Angstrom; measured against 2.8.7


@dataclass(frozen=True)
class ProfilePlan:
    """Parameters of muse_lsf.

    ``one_more``: the count of the background begins at one; ``uneven_ends``: the windows at both ends of the
    range hold other rows; ``far_from_gaussian``: pixels far from the Gaussian of their line are left out, not
    those that stand out of the profile (all as in 2.8.7).
    """

    quality: int = 3
    reach: float = 7.5
    samples: int = 150
    wavelengths: int = 30
    window: float = 0.7
    ranges: tuple[tuple[float, float], ...] = ((4750.0, 9350.0),)
    one_more: bool = False
    uneven_ends: bool = False
    far_from_gaussian: bool = False

    @property
    def half_width(self) -> float:
        """How far from a line its rows are taken (Angstrom)."""
        return self.reach + self.window


@dataclass(frozen=True)
class SlicePixels:
    """Where the pixels of a slice are, and their wavelengths, row by row of the detector.

    Attributes
    ----------
    first, last : int32[ny]
        Columns (from 1).
    lam : float32[n]
        Angstrom.
    limits : float32[ny, 2]
        Smallest and largest wavelength of each row; inf, -inf for one without pixels.
    offset, code : int
        For the column ``origin`` of a pixel table.
    """

    first: npt.NDArray[np.int32]
    last: npt.NDArray[np.int32]
    lam: npt.NDArray[np.float32]
    limits: npt.NDArray[np.float32]
    offset: int
    code: int

    @property
    def begin(self) -> npt.NDArray[np.int64]:
        """Place of the first pixel of each row (int64[ny])."""
        counts = np.maximum(self.last - self.first + 1, 0)
        return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)[:-1]])


@dataclass(frozen=True)
class LineRows:
    """Rows of the lines of a slice.

    Attributes
    ----------
    lam, data, stat : float32[n]; origin : int32[n]
    line, flux, background : float32[n]
        Fitted wavelength (Angstrom), flux (count Angstrom) and background (count) of their line.
    """

    lam: npt.NDArray[np.float32]
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    origin: npt.NDArray[np.int32]
    line: npt.NDArray[np.float32]
    flux: npt.NDArray[np.float32]
    background: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return int(self.lam.size)

    def sorted(self) -> LineRows:
        """Return them in the order of their wavelengths."""
        return self.chosen(np.argsort(self.lam, kind="stable"))

    def chosen(self, rows: npt.NDArray[Any]) -> LineRows:
        """Return some of them."""
        return LineRows(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class RowsOfSlice:
    """The rows of one slice, how many lines they are of, and the lines that were left out (reasons)."""

    rows: LineRows
    lines: int
    left_out: tuple[str, ...]


def _one_line(rows: LineRows, lam: np.float32, plan: ProfilePlan) -> LineRows | str:
    """Rows of a line with its wavelength, flux and background, or why it is left out."""
    result = np.empty(5)
    state = measure_line(rows.lam, rows.data, rows.stat, float(lam), int(plan.one_more), result)
    if state != FITTED:
        return "no row near it" if state == NO_ROW else "the fit does not settle"
    centre, flux, sigma, background, noise = (float(number) for number in result)
    if not flux >= LEAST_SIGNAL * noise:
        return f"flux {flux:.0f} below {LEAST_SIGNAL:.0f} times the noise"
    if not SIGMAS[0] <= sigma <= SIGMAS[1] or abs(centre) > plan.half_width:
        return f"implausible width {sigma:.2f}"
    numbers = (np.full(len(rows), value, np.float32) for value in (float(lam) + centre, flux, background))
    kept = np.ones(len(rows), bool)
    if plan.far_from_gaussian:
        mark_near(rows.lam, rows.data, float(lam), result, kept)
    return LineRows(rows.lam, rows.data, rows.stat, rows.origin, *numbers).chosen(kept)


def rows_of_lines(
    pixels: SlicePixels,
    images: Sequence[tuple[tuple[str, ...], Image]],
    x0: int,
    catalog: LineCatalog,
    plan: ProfilePlan,
) -> RowsOfSlice:
    """Collect the rows of all good lines of a slice.

    Parameters
    ----------
    pixels : SlicePixels
    images : sequence of (names of the lamps, Image)
        All rows of the detector.
    x0 : int
        Their first column (from 0).
    catalog : LineCatalog
    plan : ProfilePlan
    """
    parts: list[LineRows] = []
    left_out: list[str] = []
    wanted = np.flatnonzero((catalog.quality >= plan.quality) & valid_wavelengths(catalog.lam, plan.ranges))
    begin, half = pixels.begin, np.float32(plan.half_width)
    lam, data, stat = (np.empty(pixels.lam.size, np.float32) for _ in range(3))
    origin = np.empty(pixels.lam.size, np.int32)
    for lamps, image in images:
        for number in wanted:
            if catalog.lamp[number] not in lamps:
                continue
            line = np.float32(catalog.lam[number])
            n = gather_line(
                image.data, image.stat, image.dq, x0, pixels.first, pixels.last, begin, pixels.lam,
                pixels.limits, line, half, pixels.offset, pixels.code, lam, data, stat, origin,
            )  # fmt: skip
            if n < LEAST_ROWS:
                continue
            none = lam[:0]
            near = LineRows(lam[:n], data[:n], stat[:n], origin[:n], none, none, none)
            found = _one_line(near, line, plan)
            if isinstance(found, str):
                left_out.append(f"{catalog.ion[number]} {line:.1f}: {found}")
                continue
            parts.append(found)
    return RowsOfSlice(joined_rows(parts), len(parts), tuple(left_out))


def joined_rows(parts: Sequence[LineRows]) -> LineRows:
    """Return rows one after the other."""
    if not parts:
        none = np.empty(0, np.float32)
        return LineRows(none, none, none, np.empty(0, np.int32), none, none, none)
    names = LineRows.__dataclass_fields__
    return LineRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
