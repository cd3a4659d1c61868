# SPDX-License-Identifier: BSD-3-Clause
"""Which pixels of a white-light image are sky, and which pixel-table rows lie on them.

Two kinds of masks exist: the one made here from the white-light image of the exposure (`fit_sky_mask`), and
the one a user gives as SKY_MASK (`load_sky_mask`).  Both are `SkyMask` objects, and both select rows in the
same way: the row takes the value of the nearest mask pixel.  Rows outside the image count as selected, as
measured against the C pipeline 2.8.7; for the mask made from the exposure itself no row is outside.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from muse_core.data.header_values import stated_number
from muse_core.framework import InputError, RecipeError
from muse_core.framework.fits_file import open_fits
from muse_core.postproc.white_light.mask_kernels import count_linear, select_celestial, select_linear

if TYPE_CHECKING:
    import numpy.typing as npt
    from astropy.io import fits

    from muse_core.data.block import Block
    from muse_core.postproc.white_light.image import WhiteImage


class RowCount:
    """Counts the rows that were looked up in a mask, and those inside of its image."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = self._inside = 0

    def __reduce__(self) -> tuple[type[RowCount], tuple[()]]:
        """Another process counts for itself."""
        return RowCount, ()

    def add(self, rows: int, inside: int) -> None:
        """Count some more."""
        with self._lock:
            self._rows += rows
            self._inside += inside

    def take(self) -> tuple[int, int]:
        """Return (rows, rows inside) and begin again."""
        with self._lock:
            result = self._rows, self._inside
            self._rows = self._inside = 0
        return result


@dataclass(frozen=True)
class SkyMask:
    """A mask image (1 = sky) with what is needed to find the pixel of a row.

    Parameters
    ----------
    mask : uint8[ny, nx]
    kind : ``"linear"`` (coordinates are the present pixel coordinates of the table), ``"celestial"`` (they
        are right ascension and declination in degrees), ``"none"`` (no usable world coordinates: every row
        counts as outside and is therefore selected) or ``"unsupported"`` (the mask is ignored, the caller
        warns)
    crpix, crval : the reference pixel (1-based) and its coordinates
    cd : the matrix ((CD1_1, CD1_2), (CD2_1, CD2_2))
    low, threshold : the two limits between which sky was searched; NaN for a mask that was given
    ctype : the axis types of the file, for messages
    """

    mask: npt.NDArray[np.uint8]
    kind: str
    crpix: tuple[float, float] = (1.0, 1.0)
    crval: tuple[float, float] = (0.0, 0.0)
    cd: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))
    low: float = math.nan
    threshold: float = math.nan
    ctype: tuple[str, str] = ("", "")
    seen: RowCount = field(default_factory=RowCount, compare=False, repr=False)

    def values(self) -> dict[str, object]:
        """Return what the rules of SKY_MASK are about: the matrix on the sky, and the share that is sky."""
        cards = {f"CD{i}_{j}": self.cd[i - 1][j - 1] for i in (1, 2) for j in (1, 2)}
        matrix = cards if self.kind == "celestial" else {}
        return {**matrix, "SKY": float(self.mask.mean())}

    @property
    def n_sky(self) -> int:
        """Number of sky pixels of the mask image."""
        return int(np.count_nonzero(self.mask))

    def select(self, x: npt.NDArray, y: npt.NDArray) -> npt.NDArray[np.bool_]:
        """Say which rows lie on sky.

        Parameters
        ----------
        x, y : for a linear mask the pixel coordinates of the rows (float32[n]); for a celestial mask right
            ascension and declination in degrees (float64[n]); ignored for a mask without world coordinates
        """
        out, inside = self.select_and_count(x, y)
        self.seen.add(x.size, inside)
        return out

    def of_block(self, block: Block) -> npt.NDArray[np.bool_]:
        """Say which rows of a block lie on sky, by the coordinates that they have."""
        return self.select(block.xpos, block.ypos)

    def check_overlap(self) -> None:
        """Refuse a mask that none of the rows looked up since the last check lies on.

        All of them would count as sky then; the C pipeline goes on with that.
        """
        rows, inside = self.seen.take()
        if rows and not inside:
            raise RecipeError(
                f"The SKY_MASK does not overlap the field: none of {rows} rows lies on its image of "
                f"{self.mask.shape[1]} x {self.mask.shape[0]} pixels. Check its world coordinates (CRVAL "
                f"{self.crval[0]:g}, {self.crval[1]:g}), and the positions of the rows "
                "(xpos, ypos, RA and DEC of the pixel tables; ASTROMETRY_WCS, OFFSET_LIST), or leave it out."
            )

    def select_and_count(self, x: npt.NDArray, y: npt.NDArray) -> tuple[npt.NDArray[np.bool_], int]:
        """Return the selection, and how many rows lie inside the image (all, if it has no coordinates)."""
        out = np.ones(x.size, dtype=np.bool_)
        if self.kind in ("none", "unsupported"):
            return out, int(x.size)
        cd = self.cd
        if self.kind == "linear":
            inside = select_linear(x, y, self.mask, *self.crpix, *self.crval, cd[0][0], cd[1][1], out)
        else:
            inside = select_celestial(
                x, y, self.mask, *self.crpix, *self.crval, np.linalg.inv(np.array(cd)), out
            )
        return out, int(inside)

    def count(
        self,
        x: npt.NDArray[np.float32],
        y: npt.NDArray[np.float32],
        chosen: npt.NDArray[np.bool_],
        total: npt.NDArray[np.int64],
    ) -> None:
        """Add the numbers of rows on the pixels of the image of a linear mask.

        Parameters
        ----------
        x, y : float32[n]   pixel coordinates of the rows
        chosen : bool[n]   rows that count
        total : int64[ny, nx]   updated
        """
        count_linear(x, y, chosen, *self.crpix, *self.crval, self.cd[0][0], self.cd[1][1], total)


@dataclass(frozen=True)
class GoodRows:
    """Selects the good rows on sky: no flagged ones, no cosmic rays of the white-light image."""

    white: WhiteImage
    mask: SkyMask

    def __call__(self, block: Block) -> npt.NDArray[np.bool_]:
        return self.white.good(block) & self.mask.of_block(block)


def fit_sky_mask(
    image: npt.NDArray[np.float32],
    fraction: float,
    ignore: float,
    *,
    x_low: float,
    y_low: float,
    good: npt.NDArray[np.bool_] | None = None,
) -> SkyMask:
    """Make the sky mask of an exposure from its white-light image.

    The lowest part ``ignore`` of the good values is left out; of the rest the lowest ``fraction`` is sky.
    Both limits are exclusive, as in the C pipeline (measured against 2.8.7, also for ``ignore`` = 0, where
    the minimum itself is left out).

    Parameters
    ----------
    image : float32[ny, nx] on the pixel grid (CRPIX 1, CD 1)
    fraction, ignore : ``skymodel_fraction`` and ``skymodel_ignore``
    x_low, y_low : coordinates of the first pixel, i.e. the smallest xpos and ypos of the table
    good : pixels with a value; the finite ones if not given

    Examples
    --------
    >>> values = np.arange(100, dtype=np.float32).reshape(10, 10)
    >>> mask = fit_sky_mask(values, 0.4, 0.05, x_low=0.0, y_low=0.0)
    >>> mask.low, mask.threshold, mask.n_sky
    (4.0, 42.0, 37)
    """
    usable = np.isfinite(image) if good is None else good & np.isfinite(image)
    values = np.sort(image[usable], axis=None)
    if values.size == 0:
        raise RecipeError(
            "The white-light image has no valid pixel, so no sky can be found: all rows of the exposure are "
            "flagged or lie outside the SKY_MASK. Check the DQ column of the pixel tables, the SKY_MASK, "
            "and what moves the exposure on it: ASTROMETRY_WCS and OFFSET_LIST."
        )
    low = float(_ranked(values, ignore))
    high = float(_ranked(values, ignore + fraction * (1.0 - ignore)))
    sky = usable & (image > np.float32(low)) & (image < np.float32(high))
    return SkyMask(
        sky.astype(np.uint8),
        "linear",
        crval=(float(x_low), float(y_low)),
        low=low,
        threshold=high,
        ctype=("PIXEL", "PIXEL"),
    )


def _ranked(values: npt.NDArray[np.float32], part: float) -> np.float32:
    """Return the value of rank lround(part * n), counted from 1 and kept inside the array."""
    rank = math.floor(part * values.size + 0.5)
    return values[min(max(rank, 1), values.size) - 1]


def load_sky_mask(path: str | Path) -> SkyMask:
    """Read a SKY_MASK: the first image of the file and its world coordinates."""
    path = Path(path)
    with open_fits(path, item="SKY_MASK", expected="a FITS image") as hdus:
        for hdu in hdus:
            if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) >= 2:
                return _mask_from_image(path, np.asarray(hdu.data), hdu.header)
    raise InputError(
        path,
        "SKY_MASK",
        expected="an image in one of its extensions",
        found="none",
        remedy="Give an image of the field, non-zero where the sky is.",
    )


def _mask_from_image(path: Path, data: npt.NDArray, header: fits.Header) -> SkyMask:
    plane = data.reshape((-1, *data.shape[-2:]))[0]
    mask = (np.nan_to_num(plane, nan=0.0) != 0).astype(np.uint8)
    if not mask.any():
        raise InputError(
            path,
            "SKY_MASK",
            expected="at least one non-zero pixel",
            found=f"{mask.size} zeros",
            remedy="Mark the sky with non-zero values.",
        )
    ctype = (str(header.get("CTYPE1", "")).strip(), str(header.get("CTYPE2", "")).strip())
    number = partial(stated_number, path, header)
    crpix = (number("CRPIX1", 0.0), number("CRPIX2", 0.0))
    crval = (number("CRVAL1", 0.0), number("CRVAL2", 0.0))
    cd = _cd_matrix(header, number)
    if ctype == ("RA---TAN", "DEC--TAN"):
        kind = "celestial"
        if cd is None or abs(cd[0][0] * cd[1][1] - cd[0][1] * cd[1][0]) == 0.0:
            raise InputError(
                path,
                "CD matrix",
                expected="CDi_j keywords with a non-zero determinant",
                found=cd or "none",
                remedy="Repair the world coordinates of the SKY_MASK.",
            )
    elif ctype[0] in ("", "PIXEL", "LINEAR"):
        if cd is None and "CRVAL1" not in header:
            kind = "none"
        elif cd is not None and cd[0][0] != 0.0 and cd[1][1] != 0.0:
            kind = "linear"
        else:
            raise InputError(
                path,
                "CD1_1, CD2_2",
                expected="non-zero values",
                found=cd or "none",
                remedy="Repair the world coordinates of the SKY_MASK.",
            )
    else:
        kind = "unsupported"
    return SkyMask(mask, kind, crpix, crval, cd or ((1.0, 0.0), (0.0, 1.0)), ctype=ctype)


def _cd_matrix(
    header: fits.Header, number: Callable[[str, float], float]
) -> tuple[tuple[float, float], tuple[float, float]] | None:
    if "CD1_1" in header or "CD2_2" in header:
        return (number("CD1_1", 0.0), number("CD1_2", 0.0)), (number("CD2_1", 0.0), number("CD2_2", 0.0))
    if "CDELT1" in header and "CDELT2" in header:
        d1, d2 = number("CDELT1", 1.0), number("CDELT2", 1.0)
        pc = [number(f"PC{i}_{j}", float(i == j)) for i in (1, 2) for j in (1, 2)]
        return ((d1 * pc[0], d1 * pc[1]), (d2 * pc[2], d2 * pc[3]))
    return None
