# SPDX-License-Identifier: BSD-3-Clause
"""The sums behind a cube, in a file: exposures can be added later without those that are in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.resampling.cube_cards import Card, cube_cards
from muse_core.resampling.cube_file import StreamedFile, image_extension_header
from muse_core.resampling.grid import OutputGrid

if TYPE_CHECKING:
    from astropy.io import fits

    from muse_core.framework.fits_layout import Unit

SUMS = ("SUM_WD", "SUM_W", "SUM_WWS")
"""Extensions: sum of w d, of w, of w^2 s, each float64[nz, ny, nx]."""
COUNT = "EXPOSURES"
GRID = "GRID"
_GRID_ITEMS = 17
"""CRPIX1-3, CRVAL1-3, CD1_1, CD1_2, CD2_1, CD2_2, CD3_3, two scales, two references, exposure time (or
variance) and FWHM that weights are relative to: as float64, since decimal cards would lose the last bits."""


@dataclass(frozen=True)
class StoredSums:
    """Sums of exposures combined before.

    Parameters
    ----------
    path : Path
    offsets : int for each of `SUMS` and `COUNT`
        bytes before the data
    shape : (nz, ny, nx)
    """

    path: Path
    offsets: tuple[int, ...]
    shape: tuple[int, int, int]

    def planes(self, first: int, last: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int16]]:
        """Return the sums (float64[n, ny, nx, 3]) and the numbers of exposures of some planes."""
        sums = np.empty((last - first, *self.shape[1:], 3))
        for item in range(3):
            sums[..., item] = self._part(item, ">f8", first, last)
        return sums, self._part(3, ">i2", first, last).astype(np.int16)

    def _part(self, item: int, dtype: str, first: int, last: int) -> npt.NDArray:
        return np.memmap(self.path, dtype, "r", self.offsets[item], self.shape)[first:last]


@dataclass(frozen=True)
class SumsHeader:
    """What goes with the sums.

    Parameters
    ----------
    grid : OutputGrid
    reference : (float, float)
        coordinates that positions were relative to
    amount, fwhm : float
        what weights are relative to: exposure time or variance, and seeing; 0: not used
    """

    grid: OutputGrid
    reference: tuple[float, float]
    amount: float
    fwhm: float

    def numbers(self) -> npt.NDArray[np.float64]:
        """Return everything that has to keep its bits."""
        grid = self.grid
        (c11, c12), (c21, c22) = grid.matrix
        return np.array(
            [*grid.crpix, *grid.crval, c11, c12, c21, c22, grid.dlambda, *grid.scale, *self.reference,
             self.amount, self.fwhm]
        )  # fmt: skip

    def with_numbers(self, numbers: Sequence[float]) -> SumsHeader:
        """Return this header with the numbers of a file."""
        n = [float(number) for number in numbers]
        if len(n) != _GRID_ITEMS:
            raise ValueError(f"{len(n)} numbers in {GRID}, {_GRID_ITEMS} expected")
        if not np.isfinite(n).all() or n[6] * n[9] == n[7] * n[8] or min(n[10:13]) <= 0.0:
            raise ValueError(f"{n} in {GRID}, which is no grid of a cube")
        grid = replace(
            self.grid,
            crpix=(n[0], n[1], n[2]),
            crval=(n[3], n[4], n[5]),
            matrix=((n[6], n[7]), (n[8], n[9])),
            dlambda=n[10],
            scale=(n[11], n[12]),
        )
        return SumsHeader(grid, (n[13], n[14]), n[15], n[16])


class SumsWriter(StreamedFile):
    """Write sums whose planes arrive in any order.

    Parameters
    ----------
    head : SumsHeader
    data_unit : str
        BUNIT of the data
    """

    def __init__(
        self, path: Path | str, primary_header: fits.Header, head: SumsHeader, data_unit: str
    ) -> None:
        grid = head.grid
        shape = (grid.nz, grid.ny, grid.nx)
        units = (data_unit, "", f"({data_unit})**2")
        extensions: list[tuple[fits.Header, tuple[int, ...]]] = [
            (image_extension_header(-64, shape, cards_of_sums(grid, name, unit)), shape)
            for name, unit in zip(SUMS, units)
        ]
        extensions.append((image_extension_header(16, shape, cards_of_sums(grid, COUNT, "")), shape))
        numbers = (_GRID_ITEMS,)
        extensions.append((image_extension_header(-64, numbers, [("EXTNAME", GRID, "")]), numbers))
        super().__init__(path, primary_header, extensions)
        self.images[4].write_rows(0, head.numbers())

    def write_planes(
        self, first: int, sums: npt.NDArray[np.float64], exposures: npt.NDArray[np.int16]
    ) -> None:
        """Write some planes, each once."""
        for item in range(3):
            self.images[item].write_rows(first, sums[..., item])
        self.images[3].write_rows(first, exposures)


def cards_of_sums(grid: OutputGrid, name: str, unit: str) -> list[Card]:
    """Cards of a cube of sums: the world coordinates, a name, a unit."""
    world = cube_cards(grid, "DATA", unit, "")
    end = next(i for i, (key, _, _) in enumerate(world) if key == "EXTNAME")
    cards = [card for card in world[:end] if card[0] != "OBJECT"]
    return [*cards, ("EXTNAME", name, ""), *([("BUNIT", unit, "")] if unit else [])]


def layout_of(units: Sequence[Unit]) -> tuple[tuple[int, ...], tuple[int, int, int], int]:
    """Return where the data of `SUMS` and `COUNT` begin, their shape, and where the numbers are.

    Raises
    ------
    ValueError
        if this is not such a file
    """
    named = {str(unit.get("EXTNAME", "")).strip(): unit for unit in units}
    missing = [name for name in (*SUMS, COUNT, GRID) if name not in named]
    if missing:
        raise ValueError(f"no extension {', '.join(missing)}")
    shapes = {tuple(int(named[name].get(f"NAXIS{n}") or 0) for n in (3, 2, 1)) for name in (*SUMS, COUNT)}
    if len(shapes) != 1 or min(next(iter(shapes))) < 1:
        raise ValueError("extensions of different sizes")
    kinds = [named[name].get("BITPIX") for name in (*SUMS, COUNT, GRID)]
    if kinds != [-64, -64, -64, 16, -64] or named[GRID].get("NAXIS1") != _GRID_ITEMS:
        raise ValueError(f"BITPIX {kinds}")
    nz, ny, nx = next(iter(shapes))
    return tuple(named[name].data_start for name in (*SUMS, COUNT)), (nz, ny, nx), named[GRID].data_start
