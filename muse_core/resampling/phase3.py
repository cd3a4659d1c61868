# SPDX-License-Identifier: BSD-3-Clause
"""Keywords of the archive's Phase 3 cubes (format=sdpCube).

All definitions were established from products and debug messages of the C pipeline 2.8.7 and are given
with the functions.  PIXNOISE, ABMAGLIM, SKY_RES, SPEC_RES and EXPTIME come out the same to all digits
that the C pipeline keeps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from astropy.io import fits

from muse_core.framework.unit_spelling import FLUX_UNIT, same_unit
from muse_core.resampling.cube_cards import Card, plane_wavelengths

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy.typing as npt

    from muse_core.resampling.grid import OutputGrid

#: PIXNOISE is read off a histogram of the variance with bins of this width up to this limit
VARIANCE_BIN = 0.04
VARIANCE_LIMIT = 25.0
#: spaxels of a full field over which the exposure time of combined cubes is averaged
NOMINAL_SPAXELS_WFM = 300.0**2
NOMINAL_SPAXELS_NFM = 297.2**2
NO_LIMIT = -99.0
WIDEST = 1000.0
"""FWHM in pixels, above which a keyword is wrong; images are not smoothed with it."""
FWHM_OF_SIGMA = 2.0 * math.sqrt(2.0 * math.log(2.0))

_NODE_WAVELENGTHS = 4650.0 + np.arange(30) * 4650.0 / 29.0
# fmt: off
_RESOLVING_POWER = np.array([
    1674.77, 1769.45, 1864.50, 1959.52, 2054.19, 2148.34, 2241.81, 2334.46, 2426.18, 2516.84,
    2606.28, 2694.36, 2780.89, 2865.70, 2948.59, 3029.32, 3107.70, 3183.46, 3256.36, 3326.12,
    3392.45, 3455.01, 3513.44, 3567.37, 3616.34, 3659.87, 3697.42, 3728.38, 3752.11, 3767.93,
])
# fmt: on


def resolving_power(wavelength: float, narrow_field: bool = False) -> float:
    """Spectral resolving power: WFM linear between 30 tabulated values, NFM 1740 to 3450 (4800 to 9300 A)."""
    if narrow_field:
        return 1740.0 + 0.38 * (min(max(wavelength, 4800.0), 9300.0) - 4800.0)
    return float(np.interp(wavelength, _NODE_WAVELENGTHS, _RESOLVING_POWER))


# --- image quality ---


@dataclass(frozen=True)
class SkyResolution:
    """SKY_RES and SKY_RERR in arcsec, and whether they were measured."""

    fwhm: float
    error: float
    measured: bool
    error_measured: bool


DEFAULT_WFM = SkyResolution(0.853823, 0.495547, False, False)
DEFAULT_NFM = SkyResolution(0.15, 0.05, False, False)


def image_quality_fwhm(seeing: float, airmass: float, wavelength_nm: float = 700.0) -> float:
    """Image quality at 700 nm from the seeing at 500 nm in the zenith (outer scale 23 m, 8.118 m telescope).

    >>> round(image_quality_fwhm(0.8, 1.164495), 5)
    0.64608
    """
    outer_scale, diameter = 23.0, 8.118
    fried = 0.976 * 500e-9 / math.radians(seeing / 3600.0) * (wavelength_nm / 500.0) ** 1.2 * airmass**-0.6
    kolmogorov = 1.0 / (1.0 + 300.0 * diameter / outer_scale) - 1.0
    damping = 1.0 + kolmogorov * 2.183 * (fried / outer_scale) ** 0.356
    return seeing * airmass**0.6 * (wavelength_nm / 500.0) ** -0.2 * math.sqrt(damping)


def strehl_fwhm(strehl: float) -> tuple[float, float]:
    """FWHM and its error in arcsec for a Strehl ratio in percent (used between 1 and 80)."""
    factor, power = 0.81622807, -0.01941496
    ratio = min(max(strehl, 1.0), 80.0)
    slope = factor * power * ratio ** (power - 1.0)
    return -0.71985411 + factor * ratio**power, math.hypot(0.01, slope)


def sky_resolution(headers: Sequence, narrow_field: bool) -> SkyResolution:
    """SKY_RES and SKY_RERR from the headers of the exposures.

    WFM: mean over the exposures, weighted with EXPTIME, of the image quality from ESO TEL IA FWHMLIN and the
    mean airmass; the error is 0.3 arcsec and half the range of all DIMM values.  NFM: from the mean of
    ESO DRS MUSE RTC STREHL, weighted with the inverse squares of its errors.
    """
    if narrow_field:
        key = "ESO DRS MUSE RTC STREH"
        values = [(_number(header, f"{key}L"), _number(header, f"{key}ERR")) for header in headers]
        if len(headers) > 1:  # the mean ratio of those that have an error (measured)
            values = [(strehl, error) for strehl, error in values if strehl > 0.0 and error > 0.0]
            precision = [1.0 / error**2 for _, error in values]
        else:
            values, precision = [value for value in values if value[0] > 0.0], [1.0]
        if not values:
            return DEFAULT_NFM
        mean = float(np.average([strehl for strehl, _ in values], weights=precision))
        return SkyResolution(*strehl_fwhm(mean), True, True)
    times = [max(_number(header, "EXPTIME"), 0.0) for header in headers]
    weights = np.array(times if all(times) else [1.0] * len(times))
    qualities = []
    dimm: list[float] = []
    complete = True
    for header in headers:
        needed = ("ESO TEL IA FWHMLIN", "ESO TEL AIRM START", "ESO TEL AIRM END")
        seeing, start, end = (_number(header, key) for key in needed)
        if seeing > 0.0 and start > 0.0 and end > 0.0:
            qualities.append(image_quality_fwhm(seeing, 0.5 * (start + end)))
        else:
            qualities.append(DEFAULT_WFM.fwhm)
            complete = False
        pair = [_number(header, f"ESO TEL AMBI FWHM {when}") for when in ("START", "END")]
        complete = complete and min(pair) > 0.0
        dimm += pair
    if not qualities:
        return DEFAULT_WFM
    measured = any(quality != DEFAULT_WFM.fwhm for quality in qualities)
    error = math.hypot(0.3, 0.5 * (max(dimm) - min(dimm))) if complete else DEFAULT_WFM.error
    return SkyResolution(float(np.average(qualities, weights=weights)), error, measured, complete)


def _number(header: Mapping[str, Any], key: str) -> float:
    value = header.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else -1.0


# --- noise ---


def covered_spaxels(data: np.ndarray) -> int:
    """Number of spaxels with at least one finite voxel, read plane by plane."""
    covered = np.zeros(data.shape[1:], dtype=bool)
    for plane in data:
        covered |= np.isfinite(plane)
    return int(covered.sum())


def pixel_noise(stat: np.ndarray, *, fixed_histogram: bool = False) -> float:
    """Noise of a typical voxel: root of the most frequent variance.

    The mode is the centre of the fullest bin of a histogram with 0.04 wide bins from 0 to 25 (square of
    the data unit).  The C pipeline ignores what is larger, so that it returns sqrt(0.02) for cubes with a
    larger variance; here the bins are made wider by powers of two until at least half of the voxels
    lie inside, unless ``fixed_histogram`` asks for the C pipeline's value.

    Parameters
    ----------
    stat : float32[nz, ny, nx]
        Variance, read plane by plane.
    """
    width = VARIANCE_BIN
    while True:
        counts, below, total = _variance_histogram(stat, width)
        if fixed_histogram or 2 * below >= total or not math.isfinite(width):
            return math.sqrt((int(np.argmax(counts)) + 0.5) * width)
        width *= 2.0


def _variance_histogram(stat: np.ndarray, width: float) -> tuple[npt.NDArray[np.int64], int, int]:
    """Counts per bin, number of voxels inside the range, number of finite voxels."""
    bins = round(VARIANCE_LIMIT / VARIANCE_BIN) + 1
    limit = VARIANCE_LIMIT * (width / VARIANCE_BIN)
    counts = np.zeros(bins, dtype=np.int64)
    total = 0
    for plane in stat:
        values = np.asarray(plane, dtype=np.float64)
        values = values[np.isfinite(values)]
        total += values.size
        values = values[(values >= 0.0) & (values <= limit)]
        counts += np.bincount((values / width).astype(np.int64), minlength=bins)[:bins]
    return counts, int(counts.sum()), total


def smooth_image(image: npt.ArrayLike, fwhm_pix: tuple[float, float]) -> npt.NDArray[np.float64]:
    """Convolve with a normalised Gaussian of 2 floor(FWHM) + 1 pixels; empty pixels carry no weight.

    Pixels are mirrored at the border.  Empty pixels get a value where data are within reach.

    Parameters
    ----------
    image : float32[ny, nx]
    fwhm_pix : float, float
        FWHM along x and y in pixels.
    """
    from scipy import ndimage

    values = np.asarray(image, dtype=np.float64)
    extent = [0, 0]
    good = np.isfinite(values)
    total = np.where(good, values, 0.0)
    weight = good.astype(np.float64)
    for axis, fwhm in enumerate(reversed(fwhm_pix)):
        half = int(math.floor(fwhm))
        extent[axis] = 2 * half + 1
        offset = np.arange(-half, half + 1)
        kernel = np.exp(-0.5 * (offset / (fwhm / FWHM_OF_SIGMA)) ** 2)
        kernel /= kernel.sum()
        total = ndimage.correlate1d(total, kernel, axis=axis, mode="reflect")
        weight = ndimage.correlate1d(weight, kernel, axis=axis, mode="reflect")
    touched = ndimage.maximum_filter(good.astype(np.uint8), tuple(extent), mode="reflect") > 0
    result = np.full(values.shape, np.nan)
    np.divide(total, weight, out=result, where=touched & (weight > 0.0))
    return result


def histogram_mode(values: npt.NDArray[np.float64]) -> float:
    """Mode of some values from a histogram of robust bin width, refined by the neighbours of its peak."""
    deviation = 1.4826 * float(np.median(np.abs(values - np.median(values))))
    width = 2.0 * 3.49 * deviation * values.size ** (-1.0 / 3.0)
    if not width > 0.0:
        return float(np.median(values))
    start = float(values.min()) - 0.5 * width
    if (float(values.max()) - start) / width > 1e8:
        return float(np.median(values))
    counts = np.bincount(((values - start) / width).astype(np.int64))
    fullest = np.flatnonzero(counts == counts.max())
    if fullest.size > 1:
        return start + (float(fullest[-1]) + 0.5) * width
    peak = int(fullest[0])
    before, top, after = (int(count) for count in np.pad(counts, 1)[peak : peak + 3])
    return start + (peak + (top - before) / (2 * top - before - after)) * width


def background_noise(smoothed: npt.NDArray[np.float64]) -> float:
    """Noise from the values below the mode: their robust scatter, corrected for half a Gaussian."""
    values = smoothed[np.isfinite(smoothed)]
    if values.size < 2:
        return math.nan
    low = values[values < histogram_mode(values)]
    if low.size < 2:
        return math.nan
    scatter = 1.4826 * float(np.median(np.abs(low - np.median(low))))
    return scatter / math.sqrt(1.0 - 2.0 / math.pi)


def resolution_in_pixels(fwhm: float, cd: npt.ArrayLike, *, longer_step: bool = False) -> tuple[float, float]:
    """FWHM along x and y of the image.

    Parameters
    ----------
    fwhm : float
        Spatial resolution in arcsec.
    cd : float[2, 2]
        Celestial part of the matrix of the WCS in degrees.
    longer_step : bool
        As in the C recipe, both from the longer of the steps that the rows of the matrix give (the steps
        in right ascension and declination; those of pixels in grids that are not rotated).
        Measured with steps of 0.0125 to 0.38 arcsec and grids rotated by 0, 30, 60, 90 degrees.
    """
    matrix = np.asarray(cd, dtype=np.float64)
    if longer_step:
        longest = 3600.0 * float(np.hypot(matrix[:, 0], matrix[:, 1]).max())
        return fwhm / longest, fwhm / longest
    x, y = 3600.0 * np.hypot(matrix[0], matrix[1])
    return fwhm / float(x), fwhm / float(y)


def limiting_magnitude(
    image: npt.ArrayLike, fwhm_pix: tuple[float, float], first: float, last: float
) -> float:
    """AB magnitude of a point source at five times the noise of the white-light image.

    Parameters
    ----------
    image : float32[ny, nx]
        White-light image in 10^-20 erg/s/cm2/Angstrom.
    fwhm_pix : float, float
        Spatial resolution along x and y in pixels.
    first, last : float
        Wavelength of the first and the last plane; their geometric mean is the reference.
    """
    if not (min(fwhm_pix) >= 1.0 and max(fwhm_pix) <= WIDEST):
        return NO_LIMIT
    noise = background_noise(smooth_image(image, fwhm_pix))
    if not noise > 0.0:
        return NO_LIMIT
    area = 4.0 * math.pi * (fwhm_pix[0] / FWHM_OF_SIGMA) * (fwhm_pix[1] / FWHM_OF_SIGMA)
    return zero_point(first, last) - 2.5 * math.log10(5.0 * noise * area)


def zero_point(first: float, last: float) -> float:
    """AB magnitude of 10^-20 erg/s/cm2/Angstrom between two wavelengths.

    The constant is the one of the C pipeline, 0.00135 mag off the usual 48.6.

    >>> round(zero_point(6887.24072265625, 6909.74072265625), 4)
    28.3969
    """
    return -2.5 * math.log10(1e-20 * first * last / 2.99792458e18) - 48.6013523


# --- keywords ---


def sdp_cards(
    headers: Sequence,
    grid: OutputGrid,
    *,
    narrow_field: bool,
    data_unit: str,
    covered: int,
    noise: float,
    white_image: npt.ArrayLike | None,
    image_files: Sequence[str],
    software: str,
    limit_of_longer_step: bool = False,
) -> list[Card]:
    """Keywords that turn the primary header of a cube into one for the archive.

    Parameters
    ----------
    headers : sequence of Header
        Primary header of the first pixel table of each exposure, in order.
    grid : OutputGrid
        Geometry of the cube.
    data_unit : str
        BUNIT of the plain cube.
    covered, noise : int, float
        From `covered_spaxels` (the C recipe: from the image with most pixels) and `pixel_noise`.
    white_image : float32[ny, nx] or None
        White-light image.
    image_files : sequence of str
        Names of the IMAGE_FOV products.
    software : str
        Value of PROCSOFT.
    limit_of_longer_step : bool
        ABMAGLIM as in the C recipe where pixels are not square (`resolution_in_pixels`).

    Returns
    -------
    list of cards
        In the order of the C pipeline; cards that exist in the header are to be replaced in place.
    """
    exposures = [_number(header, "EXPTIME") for header in headers]
    total_time = float(sum(max(time, 0.0) for time in exposures))
    nominal = NOMINAL_SPAXELS_NFM if narrow_field else NOMINAL_SPAXELS_WFM
    shared = total_time * nominal / covered if covered else 0.0
    exptime = exposures[0] if len(headers) == 1 else shared
    ends = [_number(h, "MJD-OBS") + _number(h, "EXPTIME") / 86400.0 for h in headers]
    wavelengths = plane_wavelengths(grid)
    first, last = float(wavelengths[0]), float(wavelengths[-1])
    resolution = sky_resolution(headers, narrow_field)
    calibrated = same_unit(data_unit, FLUX_UNIT)
    ra, dec = centre_position(grid)
    magnitude = NO_LIMIT
    celestial = not str(grid.ctype[0]).startswith("PIXEL")
    if white_image is not None and celestial:
        cd = [[float(grid.cd[row][column]) for column in (0, 1)] for row in (0, 1)]
        fwhm_pix = resolution_in_pixels(resolution.fwhm, cd, longer_step=limit_of_longer_step)
        magnitude = limiting_magnitude(white_image, fwhm_pix, first, last)
    unit = "[erg.s**(-1).cm**(-2).angstrom**(-1)] pixel-to-pixel noise"
    cards: list[Card] = [
        ("RA", ra, "[deg] Image center (J2000)"),
        ("DEC", dec, "[deg] Image center (J2000)"),
        ("EXPTIME", exptime, "[s] Total integration time per pixel"),
        ("MJD-OBS", min(_number(h, "MJD-OBS") for h in headers), "[d] Start of observations (days)"),
        ("MJD-END", max(ends), "[d] End of observations (days)"),
        ("TEXPTIME", total_time, "[s] Total integration time of all exposures"),
        ("NCOMBINE", len(headers), "No. of combined raw science data files"),
        *identity_cards(headers, image_files),
        ("PRODCATG", "SCIENCE.CUBE.IFS", "Data product category"),
        ("PROCSOFT", software, "pipeline version"),
        ("OBSTECH", "IFU", "Technique for observation"),
        (
            "FLUXCAL",
            "ABSOLUTE" if calibrated else "UNCALIBRATED",
            "Type of flux calibration",
        ),
        ("WAVELMIN", first / 10.0, "[nm] Minimum wavelength"),
        ("WAVELMAX", last / 10.0, "[nm] Maximum wavelength"),
        (
            "SPEC_RES",
            resolving_power(0.5 * (first + last), narrow_field),
            "Spectral resolving power at central wavelength",
        ),
        ("SKY_RES", resolution.fwhm, _origin("[arcsec] FWHM spatial resolution", resolution.measured)),
        ("SKY_RERR", resolution.error, _origin("[arcsec] Error of SKY_RES", resolution.error_measured)),
        ("PIXNOISE", noise * (1e-20 if calibrated else 1.0), unit),
        ("ABMAGLIM", magnitude, "5-sigma magnitude limit for point sources"),
        ("REFERENC", "", "Reference publication"),
    ]
    return cards


def _origin(text: str, measured: bool) -> str:
    return f"{text} ({'measured' if measured else 'default'})"


def identity_cards(headers: Sequence, image_files: Sequence[str]) -> list[Card]:
    """Observation blocks, programmes, raw files and associated files."""
    blocks = sorted({int(h["ESO OBS ID"]) for h in headers if isinstance(h.get("ESO OBS ID"), int)})
    programmes = sorted({str(h["ESO OBS PROG ID"]) for h in headers if h.get("ESO OBS PROG ID")})
    cards: list[Card] = [(f"OBID{i}", block, "Observation block ID") for i, block in enumerate(blocks, 1)]
    if len(programmes) == 1:
        cards.append(("PROG_ID", programmes[0], "ESO programme identification"))
    elif programmes:
        cards.append(("PROG_ID", "MULTI", "ESO programme identification"))
        for i, programme in enumerate(programmes, 1):
            cards.append((f"PROGID{i}", programme, "ESO programme identification"))
    raw = [str(h["ARCFILE"]) for h in headers if h.get("ARCFILE")]
    cards += [(f"PROV{i}", name, "") for i, name in enumerate(raw, 1)]
    cards += [(f"ASSON{i}", name, "") for i, name in enumerate(image_files, 1)]
    return cards


def centre_position(grid: OutputGrid) -> tuple[float, float]:
    """World coordinates of the pixel (nx / 2, ny / 2), which the C pipeline takes for the centre."""
    x = 0.5 * float(grid.nx) - float(grid.crpix[0])
    y = 0.5 * float(grid.ny) - float(grid.crpix[1])
    xi = float(grid.cd[0][0]) * x + float(grid.cd[0][1]) * y
    eta = float(grid.cd[1][0]) * x + float(grid.cd[1][1]) * y
    if str(grid.ctype[0]).startswith("PIXEL"):
        return float(grid.crval[0]) + xi, float(grid.crval[1]) + eta
    xi, eta = math.radians(xi), math.radians(eta)
    dec0 = math.radians(float(grid.crval[1]))
    # `deproject` of muse_core.data.tangent_plane in plain floats, which give the last digit of the keywords
    down = math.cos(dec0) - eta * math.sin(dec0)
    ra = float(grid.crval[0]) + math.degrees(math.atan2(xi, down))
    dec = math.degrees(math.atan2(math.sin(dec0) + eta * math.cos(dec0), math.hypot(xi, down)))
    return ra % 360.0, dec


def apply_cards(header: fits.Header, cards: Sequence[Card]) -> None:
    """Replace keywords that exist and insert the others before the first ESO keyword, in order."""
    first_eso = next((key for key in header if key.startswith("ESO ")), None)
    for key, value, comment in cards:
        length = max(len(value) + 2, 20) if isinstance(value, str) else 20
        comment = comment[: max(80 - 10 - length - 3, 0)].rstrip()  # noqa: PLW2901
        if key in header:
            header[key] = (value, comment)
        elif first_eso is None:
            header.append((key, value, comment))
        else:
            header.insert(first_eso, (key, value, comment))
