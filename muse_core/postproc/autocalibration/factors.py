# SPDX-License-Identifier: BSD-3-Clause
"""Slice autocalibration: remove flux differences between slices, seen in the sky background.

The exposure is cut into wavelength ranges.  In each of them the sky level of every slice is measured and
brought to the level of the whole field.  `SliceSums` takes the rows block by block and in any order; its sums
are exact, so that the factors do not depend on the size or the order of the blocks.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt

from muse_core.data.header_values import Header, get_float, uses_laser_guide_stars
from muse_core.data.slices import N_IFU, N_SLICE
from muse_core.postproc.autocalibration.levels import SliceLevels, correct_slices
from muse_core.postproc.autocalibration.slice_kernels import add_rows, correct_rows

if TYPE_CHECKING:
    from muse_core.data.block import Block
    from muse_core.postproc.exposure.correction import Card

Floats = npt.NDArray[np.float64]

EDGES = np.array(
    [0.0, 5000, 5265, 5466, 5658, 5850, 6120, 6440, 6678, 6931, 7211]
    + [7450, 7668, 7900, 8120, 8330, 8565, 8731, 9012, 9275, 10000]
)
"""Limits of the wavelength ranges [Angstrom] without lasers."""
EDGES_LASER = np.delete(EDGES, 5)
"""The same with lasers: the two ranges next to the sodium notch are one."""
RAMAN_PEAKS = (np.float32(6483.8), np.float32(6826.5))
"""Raman peaks [Angstrom] that the parameter ``autocal_exclude_raman`` leaves out (measured, 2.8.7)."""
N_COLUMN = 128
N_RANGE_TABLE = 20
"""Wavelength ranges of a user table."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AutocalModel:
    """Factors of the slices in wavelength ranges."""

    name: ClassVar[str] = "autocalibration"
    moves: ClassVar[bool] = False
    stretch: ClassVar[float] = 1.0

    edges: Floats
    """float64[n + 1] limits of the ranges [Angstrom]; the lower one is inside, the upper one not."""
    factors: Floats
    """float64[n, 24, 48] multiplied to the data."""
    npts: npt.NDArray[np.int64]
    """int64[n, 24, 48] rows that were used."""
    original: Floats
    """float64[n, 24, 48] factor before the cleaning along wavelength, NaN where nothing was changed."""
    source: str = "slice-median"
    """Value of ``PIXTABLE AUTOCAL``: "slice-median", or "user" for a table of the user."""
    outside: float = 1.0
    """Factor for rows outside of all ranges."""

    def columns(self) -> dict[str, npt.NDArray]:
        """Columns of the product AUTOCAL_FACTORS: slices fastest, then IFUs, then ranges."""
        n = self.factors.shape[0]
        quad, ifu, sli = (index.ravel().astype(np.int32) + 1 for index in np.indices((n, N_IFU, N_SLICE)))
        return {
            "ifu": ifu,
            "sli": sli,
            "quad": quad,
            "npts": self.npts.ravel().astype(np.int32),
            "corr": self.factors.ravel(),
            "corr_orig": self.original.ravel(),
        }

    def range_cards(self) -> list[Card]:
        """Return the cards of AUTOCAL_FACTORS with the limits of the ranges."""
        cards: list[Card] = []
        for k in range(self.edges.size - 1):
            cards.append((f"ESO DRS MUSE LAMBDA{k + 1} MIN", float(self.edges[k]), "[Angstrom] lower end"))
            cards.append(
                (f"ESO DRS MUSE LAMBDA{k + 1} MAX", float(self.edges[k + 1]), "[Angstrom] upper end")
            )
        return cards

    def apply(self, block: Block) -> None:
        """Multiply the data of a block by the factors of their slices and stat by the squares."""
        correct_rows(block.lam, block.data, block.stat, block.origin, self.edges, self.factors, self.outside)

    def cards(self) -> list[Card]:
        """Return the card of an autocalibrated table."""
        return [("ESO DRS MUSE PIXTABLE AUTOCAL", self.source, "")]


def range_edges(header: Header) -> Floats:
    """Wavelength limits for the mode of an exposure."""
    return EDGES_LASER if uses_laser_guide_stars(header) else EDGES


def near_raman_peak(lam: npt.NDArray[np.float32], half_width: float) -> npt.NDArray[np.bool_]:
    """Say which wavelengths are nearer than `half_width` to a Raman peak (the limits do not count)."""
    return np.any([np.abs(lam - peak) < half_width for peak in RAMAN_PEAKS], axis=0)


class SliceSums:
    """Sums of the rows per wavelength range, IFU, slice and detector column.

    Feed it with `add`, from several threads if need be; several objects are joined with `merge`.  It needs
    60 MB at most.
    """

    def __init__(self, edges: npt.ArrayLike) -> None:
        self.edges = np.asarray(edges, dtype=np.float64)
        shape = (self.edges.size - 1, N_IFU, N_SLICE, N_COLUMN)
        self._count = np.zeros(shape, np.int32)
        self._coarse = np.zeros(shape)
        self._fine = np.zeros(shape)
        self._rows = np.zeros(shape[:3], np.int64)
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[Any, ...]:
        """Go to another process with the IFUs that have rows: in a part of a table these are few."""
        ifus = np.flatnonzero(self._rows.any(axis=(0, 2)))
        return self.edges, ifus, [part[:, ifus] for part in self._parts()]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Come from another process."""
        edges, ifus, parts = state
        SliceSums.__init__(self, edges)
        for mine, new in zip(self._parts(), parts, strict=True):
            mine[:, ifus] = new

    def _parts(self) -> tuple[npt.NDArray, ...]:
        return self._count, self._coarse, self._fine, self._rows

    def add(
        self,
        lam: npt.NDArray[np.float32],
        data: npt.NDArray[np.float32],
        origin: npt.NDArray[np.int32],
        selected: npt.NDArray[np.bool_],
    ) -> None:
        """Add a block of rows.

        Parameters
        ----------
        lam, data : float32[n]
            Wavelength and value after flux calibration.
        origin : int32[n]
            Packed origin of the rows.
        selected : bool[n]
            Rows in the sky mask, whatever their flags.
        """
        with self._lock:  # the sums are exact: the order of the blocks does not matter
            add_rows(lam, data, origin, selected, self.edges, *self._parts())

    def merge(self, other: SliceSums) -> None:
        """Add the sums of another object over the same ranges."""
        if not np.array_equal(self.edges, other.edges):
            raise ValueError("sums over different wavelength ranges cannot be joined")
        for mine, new in zip(self._parts(), other._parts(), strict=True):
            mine += new

    def column_means(self, k: int) -> tuple[Floats, npt.NDArray[np.int32]]:
        """Mean value and number of rows per detector column of range `k`, each [24, 48, 128]."""
        count = self._count[k]
        with np.errstate(invalid="ignore"):
            return (self._coarse[k] + self._fine[k]) / count, count

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Rows in the mask, int64[n, 24, 48]."""
        return self._rows


def fit_autocal(sums: SliceSums, log: logging.Logger = _log) -> AutocalModel:
    """Compute the factors of all slices from the sums over the sky.

    Parameters
    ----------
    sums : SliceSums
        All rows of the exposure.
    log : logging.Logger
        Takes the messages.
    """
    n = sums.edges.size - 1
    factors = np.ones((n, N_IFU, N_SLICE))
    for k in range(n):
        low, high = float(sums.edges[k]), float(sums.edges[k + 1])
        if not sums.rows[k].any():
            log.debug("No values in this lambda range (%.1f - %.1f Angstrom)", low, high)
            continue
        levels = SliceLevels.measure(*sums.column_means(k))
        factors[k] = correct_slices(levels, log)
        log.info(
            "Autocalibration %.1f - %.1f Angstrom: %d slices measured, level %.3f, factors %.4f to %.4f",
            low,
            high,
            int(levels.valid.sum()),
            levels.total,
            float(factors[k].min()),
            float(factors[k].max()),
        )
    empty = [f"{k + 1}" for k in range(n) if not sums.rows[k].any()]
    if empty:
        log.warning("No values in the lambda ranges %s of the autocalibration", ", ".join(empty))
    original = _clean_along_wavelength(factors)
    return AutocalModel(sums.edges.copy(), factors, sums.rows.copy(), original)


MAX_STEP = 0.03
MAX_SLOPE = 3.0
"""A factor is replaced by the mean of its two neighbours along wavelength if it differs from that mean by
more than MAX_STEP and by more than MAX_SLOPE times the difference of the neighbours (measured with 768
factors of the C pipeline 2.8.7)."""


def _clean_along_wavelength(factors: Floats) -> Floats:
    """Replace single factors that stick out along wavelength, in place; returns the values before."""
    original = np.full_like(factors, np.nan)
    for k in range(1, factors.shape[0] - 1):
        before, here, after = factors[k - 1], factors[k], factors[k + 1]
        mean, slope = (before + after) / 2, np.abs(before - after)
        bad = np.abs(here - mean) > np.maximum(MAX_STEP, MAX_SLOPE * slope)
        original[k][bad] = here[bad]
        here[bad] = mean[bad]
    return original


def load_factors(
    header: Header,
    columns: dict[str, npt.NDArray],
    log: logging.Logger = _log,
    *,
    factors_by_row_number: bool = False,
) -> AutocalModel | None:
    """Use the factors of a table AUTOCAL_FACTORS given by the user.

    Parameters
    ----------
    header : Header
        Primary header of the table, with ``ESO DRS MUSE LAMBDA<k> MIN/MAX``.
    columns : dict of arrays
        Columns ifu, sli, quad, npts, corr.
    log : logging.Logger
        Takes the messages.
    factors_by_row_number : bool
        Find the factors by row number, not by the columns ifu, sli and quad, and set data without a factor to
        zero (a defect of the C recipe).

    Returns
    -------
    AutocalModel or None
        None, with an error message, if the header has no ranges.

    Raises
    ------
    ValueError
        If the ranges are not adjoining and increasing.
    """
    n = 0
    limits = []
    while True:
        low = get_float(header, f"ESO DRS MUSE LAMBDA{n + 1} MIN")
        high = get_float(header, f"ESO DRS MUSE LAMBDA{n + 1} MAX")
        if low is None or high is None:
            break
        limits.append((low, high))
        n += 1
    if n == 0:
        log.error("No keywords ESO DRS MUSE LAMBDA1 MIN/MAX ... in the header of AUTOCAL_FACTORS, not used!")
        return None
    edges = _joined_edges(limits)
    corr = np.asarray(columns["corr"], dtype=np.float64)
    npts = np.asarray(columns["npts"], dtype=np.int64)
    expected = N_IFU * N_SLICE * (N_RANGE_TABLE if factors_by_row_number else n)
    if corr.size != expected:
        log.warning("AUTOCAL_FACTORS contains %d instead of %d rows!", corr.size, expected)
    size = n * N_IFU * N_SLICE
    if factors_by_row_number:
        index = np.arange(min(corr.size, size))
        source = index
        factors, counts = np.zeros(size), np.zeros(size, np.int64)
    else:
        quad, ifu, sli = (np.asarray(columns[c], dtype=np.int64) - 1 for c in ("quad", "ifu", "sli"))
        inside = (quad >= 0) & (quad < n) & (ifu >= 0) & (ifu < N_IFU) & (sli >= 0) & (sli < N_SLICE)
        source = np.flatnonzero(inside)
        if source.size < inside.size:
            log.warning(
                "AUTOCAL_FACTORS: columns ifu, sli, quad: expected 1 to %d, %d and %d, found others in %d "
                "rows (not used)", N_IFU, N_SLICE, n, inside.size - source.size,
            )  # fmt: skip
        index = ((quad * N_IFU + ifu) * N_SLICE + sli)[source]
        factors, counts = np.ones(size), np.zeros(size, np.int64)
    factors[index] = corr[source]
    counts[index] = npts[source]
    shape = (n, N_IFU, N_SLICE)
    return AutocalModel(
        edges,
        factors.reshape(shape),
        counts.reshape(shape),
        np.full(shape, np.nan),
        source="user",
        outside=0.0 if factors_by_row_number else 1.0,
    )


def _joined_edges(limits: Sequence[tuple[float, float]]) -> Floats:
    edges = np.array([limits[0][0], *(high for _, high in limits)])
    starts = np.array([low for low, _ in limits])
    if (np.diff(edges) <= 0).any() or not np.array_equal(starts, edges[:-1]):
        raise ValueError("the wavelength ranges of AUTOCAL_FACTORS are not adjoining and increasing")
    return edges
