# SPDX-License-Identifier: BSD-3-Clause
"""The image that imphot works on."""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError

if TYPE_CHECKING:
    from astropy.io.fits import HDUList, Header
    from astropy.wcs import WCS

__all__ = ["MUSE_FLUX_UNIT", "SkyImage", "flux_unit_factor", "pixel_steps", "unit_text"]

MUSE_FLUX_UNIT = 1e-20  # erg / (s cm2 Angstrom), unit of every image of the MUSE pipeline


class SkyImage:
    """A two-dimensional image with variances, mask and celestial coordinates.

    Parameters
    ----------
    values : array or masked array (ny, nx)
        pixel values; pixels that are not finite are masked
    var : array (ny, nx), optional
        variances
    mask : bool array (ny, nx), optional
        true where the pixel is not to be used
    wcs : astropy.wcs.WCS
        celestial coordinates
    unit : str, optional
        unit of the values
    filename : str, optional
        file the image comes from
    primary_header, data_header : astropy.io.fits.Header, optional
        headers of the primary array and of the data extension
    """

    var: npt.NDArray[np.floating] | None
    wcs: Any  # a WCS; None only before `imphot.images.opening.as_sky_image` has seen the image
    source: Any  # the mpdaf image that this one was made of

    def __init__(
        self,
        values: npt.ArrayLike,
        var: npt.ArrayLike | None = None,
        mask: npt.ArrayLike | None = None,
        wcs: WCS | None = None,
        unit: Any = "",
        filename: str | os.PathLike[str] | None = None,
        primary_header: Header | None = None,
        data_header: Header | None = None,
    ) -> None:
        from astropy.io import fits

        self.values = np.asarray(values)
        if self.values.ndim != 2:
            raise UserError(f"An image of two dimensions is needed, found {self.values.ndim}")
        if self.values.dtype.kind != "f" or not self.values.dtype.isnative:
            self.values = self.values.astype(np.float64 if self.values.dtype.itemsize > 4 else np.float32)
        for name, plane in (("variance", var), ("mask", mask)):
            if plane is not None and np.ndim(plane) and np.shape(plane) != self.values.shape:
                raise UserError(
                    f"The {name} has the shape {np.shape(plane)}, the image has {self.values.shape}"
                )
        self.var = None if var is None else np.asarray(var).astype(self.values.dtype)
        self.mask = np.isfinite(self.values)
        np.logical_not(self.mask, out=self.mask)
        for more in (mask, np.ma.getmask(values)):
            if more is not None:
                self.mask |= np.asarray(more, bool)
        self.wcs = wcs
        self.unit = unit if isinstance(unit, str) or hasattr(unit, "to_string") else ""  # BUNIT = T is none
        self.filename = None if filename is None else os.fspath(filename)
        self.primary_header = fits.Header() if primary_header is None else primary_header
        self.data_header = fits.Header() if data_header is None else data_header
        self.source = None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def data(self) -> np.ma.MaskedArray[Any, Any]:
        """The values as a masked array."""
        return np.ma.MaskedArray(self.values, self.mask)

    def copy(self) -> SkyImage:
        """An independent copy."""
        return SkyImage(
            self.values.copy(),
            None if self.var is None else self.var.copy(),
            self.mask.copy(),
            None if self.wcs is None else self.wcs.deepcopy(),
            self.unit,
            self.filename,
            self.primary_header.copy(),
            self.data_header.copy(),
        )

    def header_value(self, key: str, default: Any = None) -> Any:
        """Value of a keyword, looked up in the data header and then in the primary one."""
        for header in (self.data_header, self.primary_header):
            if key in header and header[key] not in (None, ""):
                return header[key]
        return default

    def wcs_header(self) -> Header:
        """Coordinate keywords of the image, with CDi_j."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = self.wcs.to_header()
        for key in ("PC1_1", "PC1_2", "PC2_1", "PC2_2", "CDELT1", "CDELT2"):
            header.remove(key, ignore_missing=True)
        cd = self.wcs.pixel_scale_matrix
        for i in range(2):
            for j in range(2):
                header[f"CD{i + 1}_{j + 1}"] = float(cd[i, j])
        return header

    def to_hdus(self, dq: Literal["auto"] | bool = "auto", dtype: npt.DTypeLike = np.float32) -> HDUList:
        """The image as HDU list: primary header, DATA, STAT when there are variances, DQ.

        Parameters
        ----------
        dq : "auto", True or False
            "auto" writes the mask as DQ only when a pixel is masked; masked pixels are NaN in DATA in any
            case
        dtype : numpy dtype
            storage of DATA and STAT
        """
        from astropy.io import fits

        primary = fits.PrimaryHDU()
        for card in self.primary_header.cards:
            if card.keyword not in _STRUCTURE and card.keyword not in primary.header:
                primary.header.append(card)
        values = np.where(self.mask, np.nan, self.values).astype(dtype)
        hdus = fits.HDUList([primary, fits.ImageHDU(values, self.wcs_header(), name="DATA")])
        if self.unit:
            hdus[1].header["BUNIT"] = unit_text(self.unit)
        if self.var is not None:
            hdus.append(fits.ImageHDU(self.var.astype(dtype), self.wcs_header(), name="STAT"))
        if dq is True or (dq == "auto" and self.mask.any()):
            hdus.append(fits.ImageHDU(self.mask.astype(np.uint8), self.wcs_header(), name="DQ"))
        return hdus

    def write(
        self,
        filename: str | os.PathLike[str],
        dq: Literal["auto"] | bool = "auto",
        dtype: npt.DTypeLike = np.float32,
        savemask: str | None = None,
    ) -> None:
        """Write the image to a file (DATA, STAT and, where pixels are masked, DQ).

        An existing file is replaced. savemask is mpdaf's word for the same: "dq" writes DQ, "nan" and "none"
        do not; masked pixels are NaN in DATA in any case.
        """
        if savemask is not None:
            dq = "auto" if savemask == "dq" else False
        final = Path(filename)
        partial = final.with_name(final.name + ".part")
        self.to_hdus(dq, dtype).writeto(partial, overwrite=True)
        partial.replace(final)


_STRUCTURE = {
    "SIMPLE",
    "BITPIX",
    "NAXIS",
    "NAXIS1",
    "NAXIS2",
    "NAXIS3",
    "EXTEND",
    "CHECKSUM",
    "DATASUM",
    "BZERO",
    "BSCALE",
}
_STRUCTURE |= {"XTENSION", "PCOUNT", "GCOUNT", "DATAMD5"}


def unit_text(unit: Any) -> str:
    """A unit as a FITS keyword value."""
    if isinstance(unit, str):
        return unit
    try:
        return unit.to_string("fits")
    except (ValueError, TypeError):
        return str(unit)


@lru_cache(maxsize=64)  # astropy takes milliseconds to find out that it does not know ELECTRONS/S
def flux_unit_factor(unit: Any) -> float | None:
    """Size of a flux-density unit in erg/(s cm2 Angstrom), or None when the unit is no flux density."""
    if unit is None or unit == "":
        return None
    from astropy import units as u

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return float(u.Unit(unit).to(u.erg / (u.s * u.cm**2 * u.Angstrom)))
    except (ValueError, TypeError, u.UnitsError):
        return None


def pixel_steps(wcs: WCS) -> tuple[float, float]:
    """Pixel sizes along y and x [arcsec]."""
    cd = np.asarray(wcs.pixel_scale_matrix)
    return float(np.hypot(cd[0, 1], cd[1, 1]) * 3600.0), float(np.hypot(cd[0, 0], cd[1, 0]) * 3600.0)
