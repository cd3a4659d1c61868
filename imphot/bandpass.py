# SPDX-License-Identifier: BSD-3-Clause
"""bandpass_image: collapse a cube with the response curve of a filter."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from astropy import units

from .errors import UserError
from .images import SkyImage
from .workers import number_of_workers

__all__ = ["bandpass_image", "plane_weights"]

_log = logging.getLogger("imphot")

BLOCK_BYTES = 64 << 20  # data of a cube held at a time by each thread


@dataclass
class _CubeSource:
    """A cube of which planes can be read one by one."""

    planes: object  # (start, stop) -> data, variance or None, mask
    shape: tuple
    first: float
    step: float
    wcs: object
    unit: object
    filename: str | None
    primary_header: object
    data_header: object
    cube: object = None


def bandpass_image(
    cube,
    wavelengths,
    sensitivities,
    unit_wave=units.Angstrom,
    interpolation="linear",
    truncation_warning=True,
    nprocess=0,
):
    """Image of a cube as seen through a filter.

    Parameters
    ----------
    cube : mpdaf Cube, str or HDUList
        the cube; planes are read in blocks
    wavelengths, sensitivities : array
        the response curve, wavelengths in increasing order
    unit_wave : astropy unit or its name
        unit of the wavelengths
    interpolation : {"linear", "cubic"}
        how the curve is interpolated
    truncation_warning : bool
        warn when more than half a percent of the curve lies outside the cube
    nprocess : int
        threads that read and add; 0: one per CPU, -n: all CPUs but n

    Returns
    -------
    image
        mpdaf Image for an mpdaf Cube, else `SkyImage`; weighted mean over the planes.  Voxels that are
        masked, or whose data or variance is not a number, lose their own weight only.
    """
    wavelengths = np.asarray(wavelengths, float)
    sensitivities = np.asarray(sensitivities, float)
    if wavelengths.ndim != 1 or wavelengths.shape != sensitivities.shape or wavelengths.size < 2:
        raise UserError("The wavelengths and sensitivities arguments should be 1D arrays of equal length")
    if not (np.isfinite(wavelengths).all() and np.isfinite(sensitivities).all()):
        raise UserError("The filter curve holds values that are not finite")
    if np.any(np.diff(wavelengths) <= 0):
        raise UserError("The wavelengths of the filter curve must increase")
    if unit_wave is not None:
        try:
            wavelengths = wavelengths * float(units.Unit(unit_wave).to(units.Angstrom))
        except (ValueError, TypeError, units.UnitsError) as err:
            raise UserError(f"{unit_wave} is not a unit of wavelengths") from err
    with _OpenCube(cube) as source:
        return _collapse(source, wavelengths, sensitivities, interpolation, truncation_warning, nprocess)


def _collapse(source, wavelengths, sensitivities, interpolation, truncation_warning, nprocess):
    n = source.shape[0]
    centres = source.first + source.step * np.arange(n)
    weights, outside = plane_weights(centres, source.step, wavelengths, sensitivities, interpolation)
    used = np.flatnonzero(weights)
    if used.size == 0:
        raise UserError("The filter curve does not overlap the wavelength coverage of the cube.")
    if truncation_warning and outside > 0.005:
        _log.warning("%.2g%% of the filter curve lies outside the wavelengths of the cube", 100.0 * outside)
    first, last = used[0], used[-1] + 1
    workers = number_of_workers(nprocess)
    planes = max(int(BLOCK_BYTES // (source.shape[1] * source.shape[2] * 8)), 1)
    planes = max(min(planes, -(-(last - first) // workers)), 1)
    blocks = [(k, min(k + planes, last)) for k in range(first, last, planes)]
    total, total_var, total_weight, seen_var = _sum_blocks(source, weights, blocks, workers)
    good = total_weight > 0
    safe = np.where(good, total_weight, 1.0)
    values = np.where(good, total / safe, np.nan)
    var = np.where(good, total_var / safe**2, 0.0) if seen_var else None
    return _image(source, values, var, ~good)


def _sum_blocks(source, weights, blocks, workers):
    shape = source.shape[1:]
    total, total_var, total_weight = (np.zeros(shape) for _ in range(3))

    def work(block):
        data, var, mask = source.planes(*block)
        w = weights[block[0] : block[1], None, None]
        bad = mask | ~np.isfinite(data)
        if var is not None:
            bad |= ~np.isfinite(var)
        out = [np.where(bad, 0.0, data * w).sum(axis=0), np.where(bad, 0.0, w).sum(axis=0)]
        out.append(None if var is None else np.where(bad, 0.0, var * w**2).sum(axis=0))
        return out

    seen_var = True
    with ThreadPoolExecutor(workers) as pool, np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, len(blocks), workers):  # no more blocks in memory than there are threads
            for part, weight, part_var in pool.map(work, blocks[start : start + workers]):
                total += part
                total_weight += weight
                seen_var = part_var is not None
                if seen_var:
                    total_var += part_var
    return total, total_var, total_weight, seen_var


def plane_weights(centres, step, wavelengths, sensitivities, interpolation="linear"):
    """Integral of the response curve over each plane, and the share of the curve outside all planes."""
    from scipy import interpolate

    if interpolation not in ("linear", "cubic"):
        raise UserError(f"Unknown interpolation ({interpolation}): choose linear or cubic")
    degree = 1 if interpolation == "linear" else 3
    if wavelengths.size <= degree:
        raise UserError(
            f"A {interpolation} interpolation needs more than {degree} points of the filter curve"
        )
    integral = interpolate.make_interp_spline(wavelengths, sensitivities, k=degree).antiderivative()
    low = np.clip(centres - 0.5 * step, wavelengths[0], wavelengths[-1])
    high = np.clip(centres + 0.5 * step, wavelengths[0], wavelengths[-1])
    weights = np.where(high > low, integral(high) - integral(low), 0.0)
    whole = float(integral(wavelengths[-1]) - integral(wavelengths[0]))
    return weights, (1.0 - weights.sum() / whole) if whole else 0.0


class _OpenCube:
    """Context manager: a `_CubeSource` for whatever was given."""

    def __init__(self, cube):
        self.cube = cube
        self.file = None

    def __enter__(self):
        from astropy.io import fits

        cube = self.cube
        if isinstance(cube, (str, os.PathLike)):
            try:
                self.file = fits.open(cube)
            except OSError as err:
                raise UserError(f"Error reading cube: {os.fspath(cube)} ({err})") from err
            try:
                return _from_hdus(self.file, os.fspath(cube))
            except BaseException:
                self.file.close()
                raise
        if hasattr(cube, "wave") and hasattr(cube, "wcs"):
            return _from_mpdaf(cube)
        if hasattr(cube, "index_of"):
            return _from_hdus(cube, cube.filename())
        raise UserError(
            f"The cube is of an unknown kind ({type(cube).__name__}): give a file name, an mpdaf cube "
            "or an HDU list"
        )

    def __exit__(self, *_details):
        if self.file is not None:
            self.file.close()
        return False


def _from_mpdaf(cube):
    step = cube.wave.get_step(unit=units.Angstrom)
    first = cube.wave.coord(0, unit=units.Angstrom)
    data = np.ma.MaskedArray(cube.data)
    mask = np.ma.getmaskarray(data)
    values, var = np.ma.getdata(data), cube.var
    if var is not None:
        var = np.ma.getdata(np.ma.MaskedArray(var))

    def planes(start, stop):
        return values[start:stop], None if var is None else var[start:stop], mask[start:stop]

    return _CubeSource(
        planes,
        values.shape,
        float(first),
        float(step),
        cube.wcs.wcs,
        cube.unit,
        cube.filename,
        cube.primary_header,
        cube.data_header,
        cube,
    )


def _from_hdus(hdus, filename):
    import warnings

    from astropy.wcs import WCS

    names = [hdu.name.upper() for hdu in hdus]
    data = (
        hdus["DATA"]
        if "DATA" in names
        else next((h for h in hdus if h.is_image and h.header.get("NAXIS") == 3), None)
    )
    if data is None or len(data.shape) != 3:
        raise UserError(f"The file {filename} holds no cube")
    stat = hdus["STAT"] if "STAT" in names else None
    dq = hdus["DQ"] if "DQ" in names else None
    header = data.header
    step = header.get("CD3_3", header.get("CDELT3"))
    if step is None or "CRVAL3" not in header:
        raise UserError(f"The cube {filename} has no wavelengths (CRVAL3, CD3_3)")
    factor = float(units.Unit(header.get("CUNIT3", "Angstrom") or "Angstrom").to(units.Angstrom))
    first = (header["CRVAL3"] + (1.0 - header.get("CRPIX3", 1.0)) * step) * factor

    def planes(start, stop):
        values = np.asarray(data.section[start:stop])
        var = None if stat is None else np.asarray(stat.section[start:stop])
        mask = np.zeros(values.shape, bool) if dq is None else np.asarray(dq.section[start:stop]) != 0
        return values, var, mask

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(header).celestial
    return _CubeSource(
        planes,
        data.shape,
        first,
        step * factor,
        wcs,
        header.get("BUNIT", ""),
        filename,
        hdus[0].header.copy(),
        header.copy(),
    )


def _image(source, values, var, mask):
    if source.cube is None:
        return SkyImage(
            values,
            var,
            mask,
            source.wcs,
            source.unit,
            source.filename,
            source.primary_header,
            source.data_header,
        )
    from mpdaf.obj import Image

    out = Image(
        data=np.where(mask, 0.0, values),
        var=var,
        mask=mask,
        wcs=source.cube.wcs,
        unit=source.unit,
        copy=False,
        primary_header=source.primary_header.copy(),
        data_header=source.data_header.copy(),
    )
    out.filename = source.filename
    return out
