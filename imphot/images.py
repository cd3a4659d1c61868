# SPDX-License-Identifier: BSD-3-Clause
"""The image that imphot works on, and the ways to make one.

A fit accepts an mpdaf ``Image``, a file name, an astropy ``HDUList``, a tuple ``(data, var, mask, wcs)`` or a
`SkyImage`.  mpdaf is recognised by its attributes and never imported here.
"""

from __future__ import annotations

import logging
import os
import warnings
from functools import lru_cache
from pathlib import Path

import numpy as np

from .errors import UserError

__all__ = ["MUSE_FLUX_UNIT", "SkyImage", "as_sky_image", "flux_unit_factor", "pixel_steps"]

MUSE_FLUX_UNIT = 1e-20  # erg / (s cm2 Angstrom), unit of every image of the MUSE pipeline

_log = logging.getLogger(__name__)


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

    def __init__(
        self,
        values,
        var=None,
        mask=None,
        wcs=None,
        unit="",
        filename=None,
        primary_header=None,
        data_header=None,
    ):
        from astropy.io import fits

        self.values = np.asarray(values)
        if self.values.ndim != 2:
            raise UserError(f"An image of two dimensions is needed, found {self.values.ndim}")
        if self.values.dtype.kind != "f" or not self.values.dtype.isnative:
            self.values = self.values.astype(np.float64 if self.values.dtype.itemsize > 4 else np.float32)
        for name, plane in (("variance", var), ("mask", mask)):
            if np.ndim(plane) and np.shape(plane) != self.values.shape:
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
        self.unit = unit
        self.filename = None if filename is None else os.fspath(filename)
        self.primary_header = fits.Header() if primary_header is None else primary_header
        self.data_header = fits.Header() if data_header is None else data_header
        self.source = None

    @property
    def shape(self):
        """Number of rows and columns."""
        return self.values.shape

    @property
    def data(self):
        """The values as a masked array."""
        return np.ma.MaskedArray(self.values, self.mask)

    def copy(self):
        """An independent copy."""
        out = SkyImage(
            self.values.copy(),
            None if self.var is None else self.var.copy(),
            self.mask.copy(),
            None if self.wcs is None else self.wcs.deepcopy(),
            self.unit,
            self.filename,
            self.primary_header.copy(),
            self.data_header.copy(),
        )
        return out

    def header_value(self, key, default=None):
        """Value of a keyword, looked up in the data header and then in the primary one."""
        for header in (self.data_header, self.primary_header):
            if key in header and header[key] not in (None, ""):
                return header[key]
        return default

    def wcs_header(self):
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

    def to_hdus(self, dq="auto", dtype=np.float32):
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

    def write(self, filename, **kwargs):
        """Write the image to a file (DATA, STAT and, where pixels are masked, DQ); an existing file is
        replaced.
        """
        final = Path(filename)
        partial = final.with_name(final.name + ".part")
        self.to_hdus(**kwargs).writeto(partial, overwrite=True)
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


def unit_text(unit):
    """A unit as a FITS keyword value."""
    if isinstance(unit, str):
        return unit
    try:
        return unit.to_string("fits")
    except (ValueError, TypeError):
        return str(unit)


@lru_cache(maxsize=64)  # astropy takes milliseconds to find out that it does not know ELECTRONS/S
def flux_unit_factor(unit):
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


def pixel_steps(wcs):
    """Pixel sizes along y and x [arcsec]."""
    cd = np.asarray(wcs.pixel_scale_matrix)
    return float(np.hypot(cd[0, 1], cd[1, 1]) * 3600.0), float(np.hypot(cd[0, 0], cd[1, 0]) * 3600.0)


def as_sky_image(image, what="MUSE", cube_ok=False, around=None):
    """Turn whatever the user gave into a `SkyImage`.

    Parameters
    ----------
    image : mpdaf Image, str, Path, HDUList, tuple or SkyImage
        the image
    what : str
        word used in error messages ("MUSE", "HST", "mask")
    cube_ok : bool
        accept a cube and take its first plane
    around : SkyImage, optional
        of a file much larger than the field of this image only the part around it is read
    """
    if isinstance(image, SkyImage):
        out = image
    elif isinstance(image, (str, os.PathLike)):
        out = _read_file(image, what, cube_ok, around)
    elif isinstance(image, tuple):
        if len(image) != 4:
            raise UserError(f"The {what} image given as a tuple needs 4 members: data, variance, mask, wcs")
        data, var, mask, wcs = image
        out = SkyImage(data, var, mask, wcs)
    elif hasattr(image, "primary_header") and hasattr(image, "wcs"):
        out = _from_mpdaf(image, what, cube_ok)
    elif hasattr(image, "info") and hasattr(image, "index_of"):
        out = _from_hdus(image, what, cube_ok)
    else:
        raise UserError(
            f"The {what} image is of an unknown kind ({type(image).__name__}): give a file name, an "
            "mpdaf image,"
            " an HDU list or (data, variance, mask, wcs)"
        )
    if out.wcs is None or not out.wcs.has_celestial:
        raise UserError(
            f"The {what} image has no celestial coordinates (CTYPE1 = 'RA---TAN' ...): give an image "
            "with a WCS"
        )
    return out


def _first_plane(array, cube_ok, what):
    if array is None:
        return None
    if array.ndim == 3 and (cube_ok or array.shape[0] == 1):
        return array[0]
    if array.ndim != 2:
        raise UserError(f"The {what} image must have two dimensions, found {array.ndim}")
    return array


def _from_mpdaf(image, what, cube_ok):
    wcs = getattr(image.wcs, "wcs", image.wcs)
    data = np.ma.MaskedArray(image.data)
    mask = _first_plane(np.ma.getmaskarray(data), cube_ok, what)
    values = _first_plane(np.ma.getdata(data), cube_ok, what)
    var = image.var
    if var is not None:
        var = _first_plane(np.ma.getdata(np.ma.MaskedArray(var)), cube_ok, what)
    out = SkyImage(
        values, var, mask, wcs, image.unit, image.filename, image.primary_header, image.data_header
    )
    out.source = image
    return out


def _read_file(name, what, cube_ok, around=None):
    from astropy.io import fits

    try:
        with fits.open(name) as hdus:
            return _from_hdus(hdus, what, cube_ok, name, around)
    except OSError as err:
        raise UserError(f"Error reading {what} file: {os.fspath(name)} ({err})") from err


def _from_hdus(hdus, what, cube_ok, filename=None, around=None):
    from astropy.wcs import WCS

    names = [hdu.name.upper() for hdu in hdus]
    filename = filename or hdus.filename()

    def has_pixels(hdu):
        return getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) >= 2

    position = next(
        (
            names.index(name)
            for name in ("DATA", "SCI")
            if name in names and has_pixels(hdus[names.index(name)])
        ),
        None,
    )
    if position is None:
        position = next((i for i, hdu in enumerate(hdus) if has_pixels(hdu)), None)
    if position is None:
        raise UserError(f"The {what} file {filename} holds no image")
    hdu = hdus[position]
    header = hdu.header.copy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wcs = WCS(header).celestial
        except Exception as err:  # wcslib raises many kinds; every one of them means the same to the user
            raise UserError(f"The coordinates of the {what} file {filename} cannot be read ({err})") from err
    if not wcs.has_celestial:
        wcs = None
    part = _part_around(hdu, wcs, around) if around is not None and wcs is not None else None
    values = _first_plane(_section(hdu, cube_ok, part), cube_ok, what)
    var = mask = None
    if "STAT" in names and hdus["STAT"].shape[-2:] == hdu.shape[-2:]:
        var = _first_plane(_section(hdus["STAT"], cube_ok, part), cube_ok, what)
    if "DQ" in names and hdus["DQ"].shape[-2:] == hdu.shape[-2:]:
        mask = _first_plane(_section(hdus["DQ"], cube_ok, part), cube_ok, what) != 0
    if part is not None:
        wcs = wcs[part]
    unit = header.get("BUNIT", hdus[0].header.get("BUNIT", ""))
    return SkyImage(values, var, mask, wcs, unit, filename, hdus[0].header.copy(), header)


LARGE = 4_000_000  # pixels; smaller files are read whole
SURROUNDINGS = 15.0  # arcsec read around the field of a MUSE image


def _part_around(hdu, wcs, field):
    """Rows and columns of a large image around a field, or None to take all of it."""
    shape = hdu.shape[-2:]
    if len(hdu.shape) != 2 or shape[0] * shape[1] <= LARGE or field.wcs is None:
        return None
    ny, nx = field.shape
    edge_y = np.concatenate([np.linspace(0, ny - 1, 9)] * 2 + [np.zeros(9), np.full(9, ny - 1.0)])
    edge_x = np.concatenate([np.zeros(9), np.full(9, nx - 1.0)] + [np.linspace(0, nx - 1, 9)] * 2)
    x, y = wcs.all_world2pix(*field.wcs.all_pix2world(edge_x, edge_y, 0), 0, quiet=True)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return None
    out = []
    for values, size, step in ((y, shape[0], pixel_steps(wcs)[0]), (x, shape[1], pixel_steps(wcs)[1])):
        border = int(np.ceil(SURROUNDINGS / step))
        start, stop = max(int(values.min()) - border, 0), min(int(values.max()) + border + 1, size)
        if start >= stop:
            return None
        out.append(slice(start, stop))
    return tuple(out)


def _section(hdu, cube_ok, part=None):
    """Copy of the pixels of an HDU in native byte order: the first plane only of a cube, the wanted part
    only of an image.
    """
    if len(hdu.shape) == 3 and cube_ok and hasattr(hdu, "section"):
        data = hdu.section[0:1, :, :]
    elif part is not None and hasattr(hdu, "section"):
        data = hdu.section[part[0], part[1]]
    else:
        data = hdu.data
    return np.array(data, data.dtype.newbyteorder("="))
