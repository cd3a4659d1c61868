# SPDX-License-Identifier: BSD-3-Clause
"""The rows of arc lines of one slice that make its line profile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.arcs.catalog import LineCatalog
from muse_core.arcs.profile_kernels import fit_line
from muse_core.arcs.solution import valid_wavelengths

Floats = npt.NDArray[np.float64]
BACKGROUND_FROM = 5.5  # Angstrom from the line; measured against 2.8.7: whatever lsf_range is
LEAST_ROWS = 100
LEAST_SIGNAL = 50.0  # flux over the noise of a row; measured against 2.8.7
SIGMAS = (0.7, 3.0)  # Angstrom; measured against 2.8.7


@dataclass(frozen=True)
class ProfilePlan:
    """Parameters of muse_lsf; ``one_more``: the count of the background begins at one, as in 2.8.7."""

    quality: int = 3
    reach: float = 7.5
    samples: int = 150
    wavelengths: int = 30
    window: float = 0.7
    ranges: tuple[tuple[float, float], ...] = ((4750.0, 9350.0),)
    one_more: bool = False

    @property
    def half_width(self) -> float:
        """How far from a line its rows are taken (Angstrom)."""
        return self.reach + self.window


@dataclass(frozen=True)
class SliceRowsOfLamp:
    """Pixels of a slice in the image of one lamp, row by row of the detector.

    ``lam, data, stat``: float32[n]; ``dq, origin``: int32[n]; ``lamp``: its names.
    """

    lam: npt.NDArray[np.float32]
    data: npt.NDArray[np.float32]
    stat: npt.NDArray[np.float32]
    dq: npt.NDArray[np.int32]
    origin: npt.NDArray[np.int32]
    lamps: tuple[str, ...]


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

    def with_rows(self, rows: LineRows) -> RowsOfSlice:
        """Return the same with other rows."""
        return replace(self, rows=rows)


def _one_line(
    rows: SliceRowsOfLamp, part: npt.NDArray[np.int64], lam: np.float32, plan: ProfilePlan
) -> tuple[float, float, float] | str:
    """Wavelength, flux and background of a line, or why it is left out."""
    data = rows.data[part].astype(np.float64)
    offset = rows.lam[part].astype(np.float64) - float(lam)
    outside = np.abs(offset) > BACKGROUND_FROM
    count = int(outside.sum()) + plan.one_more
    background = float(data[outside].sum()) / count if count else 0.0
    values = data - background
    start = np.array([0.0, 0.0, 1.1])
    near = np.abs(offset) < 3 * start[2]
    if not near.any():
        return "no row near it"
    start[1] = max(float(values[near].max()), 1.0) * start[2] * np.sqrt(2 * np.pi)
    start[0] = float(offset[near][np.argmax(values[near])])
    if not fit_line(offset, values, start):
        return "the fit does not settle"
    centre, flux, sigma = (float(number) for number in start)
    noise = float(np.sqrt(rows.stat[part].astype(np.float64).mean()))
    if not flux >= LEAST_SIGNAL * noise:
        return f"flux {flux:.0f} below {LEAST_SIGNAL:.0f} times the noise"
    if not SIGMAS[0] <= sigma <= SIGMAS[1] or abs(centre) > plan.half_width:
        return f"implausible width {sigma:.2f}"
    return float(lam) + centre, flux, background


def rows_of_lines(images: list[SliceRowsOfLamp], catalog: LineCatalog, plan: ProfilePlan) -> RowsOfSlice:
    """Collect the rows of all good lines of a slice.

    Parameters
    ----------
    images : list of SliceRowsOfLamp
        The slice in the images of all lamps.
    catalog : LineCatalog
    plan : ProfilePlan
    """
    parts: list[LineRows] = []
    left_out: list[str] = []
    wanted = (catalog.quality >= plan.quality) & valid_wavelengths(catalog.lam, plan.ranges)
    half = np.float32(plan.half_width)
    for rows in images:
        good = np.flatnonzero(rows.dq == 0)
        order = good[np.argsort(rows.lam[good], kind="stable")]
        ordered = rows.lam[order]
        for number in np.flatnonzero(wanted):
            if catalog.lamp[number] not in rows.lamps:
                continue
            lam = np.float32(catalog.lam[number])
            ends = np.searchsorted(ordered, [lam - half - 1, lam + half + 1])
            part = np.sort(order[ends[0] : ends[1]])
            part = part[np.abs(rows.lam[part] - lam) <= half]
            if part.size < LEAST_ROWS:
                continue
            found = _one_line(rows, part, lam, plan)
            if isinstance(found, str):
                left_out.append(f"{catalog.ion[number]} {lam:.1f}: {found}")
                continue
            columns = (np.full(part.size, value, np.float32) for value in found)
            parts.append(
                LineRows(rows.lam[part], rows.data[part], rows.stat[part], rows.origin[part], *columns)
            )
    names = LineRows.__dataclass_fields__
    if not parts:
        none = np.empty(0, np.float32)
        nothing = LineRows(none, none, none, np.empty(0, np.int32), none, none, none)
        return RowsOfSlice(nothing, 0, tuple(left_out))
    joined = LineRows(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
    return RowsOfSlice(joined, len(parts), tuple(left_out))
