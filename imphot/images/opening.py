# SPDX-License-Identifier: BSD-3-Clause
"""Images as a user may give them, turned into a `SkyImage`.

A fit accepts an mpdaf ``Image``, a file name, an astropy ``HDUList``, a tuple ``(data, var, mask, wcs)`` or a
`SkyImage`.  mpdaf is recognised by its attributes and never imported here.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError
from imphot.images.sky_image import SkyImage, pixel_steps
from muse_core.framework.errors import InputError
from muse_core.framework.fits_file import open_fits
from muse_core.framework.wcs_keywords import wrong_type

if TYPE_CHECKING:
    from astropy.io.fits import HDUList
    from astropy.wcs import WCS

__all__ = ["ImageLike", "as_sky_image", "load_pair", "open_file", "read_plane"]

ImageLike: TypeAlias = Any  # mpdaf Image, file name, HDUList, (data, var, mask, wcs) or SkyImage

COMPANIONS = ("STAT", "DQ", "ERR", "VAR", "WHT", "CTX", "MASK", "EXP")
LARGE = 4_000_000  # pixels; smaller files are read whole
SURROUNDINGS = 15.0  # arcsec read around the field of a MUSE image


def as_sky_image(
    image: ImageLike, what: str = "MUSE", cube_ok: bool = False, around: SkyImage | None = None
) -> SkyImage:
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


def _first_plane(array: npt.NDArray[Any], cube_ok: bool, what: str) -> npt.NDArray[Any]:
    if array.ndim == 3 and (cube_ok or array.shape[0] == 1):
        return array[0]
    if array.ndim != 2:
        raise UserError(f"The {what} image must have two dimensions, found {array.ndim}")
    return array


def _from_mpdaf(image: Any, what: str, cube_ok: bool) -> SkyImage:
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


def _read_file(
    name: str | os.PathLike[str], what: str, cube_ok: bool, around: SkyImage | None = None
) -> SkyImage:
    with open_file(name, f"{what} file") as hdus:
        return _from_hdus(hdus, what, cube_ok, name, around)


@contextmanager
def open_file(name: str | os.PathLike[str], what: str) -> Iterator[HDUList]:
    """Open a FITS file by the one door; what is wrong with it becomes a `UserError` that says what it is."""
    try:
        with open_fits(Path(name), memmap=True) as hdus:
            yield hdus
    except UserError:
        raise
    except InputError as err:
        raise UserError(f"Error reading {what}: {err}") from err


def _from_hdus(
    hdus: HDUList,
    what: str,
    cube_ok: bool,
    filename: str | os.PathLike[str] | None = None,
    around: SkyImage | None = None,
) -> SkyImage:
    from astropy.wcs import WCS

    names = [hdu.name.upper() for hdu in hdus]
    filename = filename or hdus.filename()

    def has_pixels(hdu: Any) -> bool:
        return bool(getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) >= 2)

    position = next(
        (
            names.index(name)
            for name in ("DATA", "SCI")
            if name in names and has_pixels(hdus[names.index(name)])
        ),
        None,
    )
    if position is None:
        position = next(
            (i for i, hdu in enumerate(hdus) if has_pixels(hdu) and not is_companion(hdu.name)), None
        )
    if position is None:
        raise UserError(f"The {what} file {filename} holds no image")
    hdu = hdus[position]
    header = hdu.header.copy()
    check_coordinates(header, f"{what} file {filename}")
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
    for name in ("STAT", "DQ"):
        if name in names and tuple(getattr(hdus[name], "shape", ())[-2:]) != hdu.shape[-2:]:
            raise UserError(
                f"{name} of the {what} file {filename} has the size {getattr(hdus[name], 'shape', ())}, its "
                f"image {hdu.shape}: remove it or make the file again"
            )
    if "STAT" in names:
        var = _first_plane(_section(hdus["STAT"], cube_ok, part), cube_ok, what)
    if "DQ" in names:
        mask = _first_plane(_section(hdus["DQ"], cube_ok, part), cube_ok, what) != 0
    if part is not None:
        wcs = wcs[part]
    unit = header.get("BUNIT", hdus[0].header.get("BUNIT", ""))
    return SkyImage(values, var, mask, wcs, unit, filename, hdus[0].header.copy(), header)


def check_coordinates(header: Mapping[str, Any], name: str) -> None:
    """Refuse a header whose world coordinates have texts for numbers, or numbers for texts."""
    found = wrong_type(header)
    if found is not None:
        key, expected, value = found
        raise UserError(
            f"The coordinates of the {name} cannot be read: keyword {key}: expected {expected}, found {value}"
        )


def is_companion(name: str) -> bool:
    """Say whether an extension belongs to an image, by its name, and is none itself."""
    return name.upper() in COMPANIONS


def _part_around(hdu: Any, wcs: WCS, field: SkyImage) -> tuple[slice, slice] | None:
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
    return out[0], out[1]


def _section(hdu: Any, cube_ok: bool, part: tuple[slice, slice] | None = None) -> npt.NDArray[Any]:
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


def load_pair(hst: ImageLike, muse: ImageLike) -> tuple[SkyImage, SkyImage]:
    """Both images of a fit; of an HST file only the part around the MUSE field is read."""
    field = as_sky_image(muse, "MUSE")
    return as_sky_image(hst, "HST", around=field), field


def read_plane(name: str | os.PathLike[str], what: str) -> npt.NDArray[Any]:
    """Pixels of the first image of two dimensions in a file; what says in messages what the file is."""
    with open_file(name, f"{what} file") as hdus:
        for hdu in hdus:
            if getattr(hdu, "is_image", False) and hdu.header.get("NAXIS", 0) == 2:
                return np.array(hdu.data)
    raise UserError(f"The {what} file {os.fspath(name)} holds no image of two dimensions")
