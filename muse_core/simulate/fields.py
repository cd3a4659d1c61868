# SPDX-License-Identifier: BSD-3-Clause
"""Synthetic field-of-view images (IMAGE_FOV) of one star field, with known pointing errors.

Each exposure looks at the same sky with its own dither, rotation, seeing and depth. Its header carries a
pointing error; the truth is that error relative to the first exposure, which is what an alignment has to
find.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from muse_core.data.tangent_plane import TanWcs

PIXEL_ARCSEC = {"WFM": 0.2, "NFM": 0.025}
FWHM_TO_SIGMA = 2.3548200450309493


@dataclass(frozen=True)
class FieldPlan:
    """What to simulate; sequences with one value per exposure may be shorter and are then repeated.

    Parameters
    ----------
    exposures : int
    shape : (int, int)
        (ny, nx) in pixels.
    mode : {"WFM", "NFM"}
        Decides the pixel size (0.2 or 0.025 arcsec) and ESO INS MODE.
    stars : int
        Stars within the area that all dithers cover together.
    centre : (float, float)
        Right ascension and declination in degrees.
    dither_arcsec, error_arcsec : float
        Scatter of the true pointings and of the errors in the headers, arcsec on the sky.
    angles_deg : sequence of float
        Position angle of each exposure.
    fwhm_pix : sequence of float
        Seeing of each exposure.
    faintest, brightest : float
        Peaks of the stars; log-uniform between them.
    noise : sequence of float
        Scatter of a pixel of each exposure.
    sky : float
        Constant background.
    border : int
        Width of the NaN frame in pixels.
    turn_deg, stretch : sequence of float
        Rotation and relative scale error that the headers do not tell (for the residual check).
    exptime : sequence of float
        Seconds.
    seed : int
    """

    exposures: int = 3
    shape: tuple[int, int] = (300, 300)
    mode: str = "WFM"
    stars: int = 30
    centre: tuple[float, float] = (150.1, -27.8)
    dither_arcsec: float = 1.5
    error_arcsec: float = 0.6
    angles_deg: tuple[float, ...] = (0.0,)
    fwhm_pix: tuple[float, ...] = (4.0,)
    faintest: float = 60.0
    brightest: float = 3000.0
    noise: tuple[float, ...] = (0.5,)
    sky: float = 0.0
    border: int = 6
    turn_deg: tuple[float, ...] = (0.0,)
    stretch: tuple[float, ...] = (0.0,)
    exptime: tuple[float, ...] = (900.0,)
    seed: int = 1


@dataclass(frozen=True)
class FieldImage:
    """One simulated exposure. ``error`` is (RA, DEC) of the header minus the truth, degrees of coordinate."""

    data: np.ndarray
    wcs: TanWcs
    error: tuple[float, float]
    exptime: float
    number: int
    mode: str
    x: np.ndarray = field(repr=False)
    y: np.ndarray = field(repr=False)

    @property
    def mjd(self) -> float:
        """Start of the exposure: one every 16.56 minutes from MJD 58000.1 on."""
        return 58000.1 + 0.0115 * self.number

    @property
    def date(self) -> str:
        """Start of the exposure as DATE-OBS."""
        milliseconds = round((self.mjd - 58000.0) * 86400.0 * 1000.0)
        start = np.datetime64("2017-09-04T00:00:00.000") + np.timedelta64(milliseconds, "ms")
        return str(start)


def simulate_fields(plan: FieldPlan) -> list[FieldImage]:
    """Make the images of a plan; equal plans give equal images."""
    return list(iterate_fields(plan))


def iterate_fields(plan: FieldPlan) -> Iterator[FieldImage]:
    """Make the images of a plan one after the other, for plans that do not fit into the memory."""
    rng = np.random.default_rng(plan.seed)
    ny, nx = plan.shape
    scale = PIXEL_ARCSEC[plan.mode] / 3600.0
    cosdec = np.cos(np.radians(plan.centre[1]))
    sky = TanWcs((0.0, 0.0), plan.centre, ((-scale, 0.0), (0.0, scale)))
    turned = any(a % 180.0 for a in plan.angles_deg)
    reach = 0.5 * (np.hypot(nx, ny) if turned else max(nx, ny)) + 2.0 * plan.dither_arcsec / 3600.0 / scale
    star_x = rng.uniform(-reach, reach, plan.stars)
    star_y = rng.uniform(-reach, reach, plan.stars)
    peak = plan.faintest * (plan.brightest / plan.faintest) ** rng.uniform(0.0, 1.0, plan.stars)
    star_ra, star_dec = sky.sky(star_x, star_y)
    for n in range(plan.exposures):
        dither = rng.normal(0.0, plan.dither_arcsec, 2) / 3600.0
        error = rng.normal(0.0, plan.error_arcsec, 2) / 3600.0 if n else np.zeros(2)
        dither[0] /= cosdec
        error[0] /= cosdec
        angle = np.radians(_of(plan.angles_deg, n))
        cd = _cd_matrix(scale, angle)
        true_cd = _cd_matrix(scale * (1.0 + _of(plan.stretch, n)), angle + np.radians(_of(plan.turn_deg, n)))
        pointing = (plan.centre[0] + dither[0], plan.centre[1] + dither[1])
        crpix = (nx / 2.0, ny / 2.0)
        true = TanWcs(crpix, pointing, true_cd)
        x, y = true.pixel(star_ra, star_dec)
        data = render_stars((ny, nx), x - 1.0, y - 1.0, peak, _of(plan.fwhm_pix, n))
        data += plan.sky + rng.normal(0.0, _of(plan.noise, n), (ny, nx))
        data = _blank_border(data.astype(np.float32), plan.border)
        yield FieldImage(
            data=data,
            wcs=TanWcs(crpix, (pointing[0] + error[0], pointing[1] + error[1]), cd),
            error=(float(error[0]), float(error[1])),
            exptime=_of(plan.exptime, n),
            number=n,
            mode=f"{plan.mode}-NOAO-N" if plan.mode == "WFM" else "NFM-AO-N",
            x=x - 1.0,
            y=y - 1.0,
        )


def cut_fields(data: np.ndarray, wcs: TanWcs, plan: FieldPlan) -> Iterator[FieldImage]:
    """Cut exposures out of a real image, with dither, rotation, more noise and header errors of the plan.

    Seeing, stars and sky are those of the image. Its own noise is common to all cuts, so ``plan.noise``
    should be the larger one.

    Parameters
    ----------
    data : float32[ny, nx]
        Finite everywhere.
    wcs : TanWcs
        Of the image.
    plan : FieldPlan
    """
    from scipy.ndimage import map_coordinates, spline_filter

    rng = np.random.default_rng(plan.seed)
    ny, nx = plan.shape
    coefficients = spline_filter(np.asarray(data, dtype=np.float64), order=3)
    scale = np.sqrt(wcs.pixel_area)
    centre = wcs.sky((data.shape[1] + 1) / 2.0, (data.shape[0] + 1) / 2.0)
    cosdec = np.cos(np.radians(centre[1]))
    x, y = np.meshgrid(np.arange(1.0, nx + 1), np.arange(1.0, ny + 1))
    for n in range(plan.exposures):
        dither = rng.normal(0.0, plan.dither_arcsec, 2) / 3600.0
        error = rng.normal(0.0, plan.error_arcsec, 2) / 3600.0 if n else np.zeros(2)
        pointing = (float(centre[0] + dither[0] / cosdec), float(centre[1] + dither[1]))
        cd = _cd_matrix(scale, np.radians(_of(plan.angles_deg, n)))
        true = TanWcs((nx / 2.0, ny / 2.0), pointing, cd)
        column, row = wcs.pixel(*true.sky(x, y))
        cut = map_coordinates(coefficients, (row - 1.0, column - 1.0), order=3, prefilter=False, cval=np.nan)
        cut += rng.normal(0.0, _of(plan.noise, n), cut.shape)
        yield FieldImage(
            data=_blank_border(cut.astype(np.float32), plan.border),
            wcs=true.moved(float(error[0] / cosdec), float(error[1])),
            error=(float(error[0] / cosdec), float(error[1])),
            exptime=_of(plan.exptime, n),
            number=n,
            mode="WFM-NOAO-N",
            x=np.zeros(0),
            y=np.zeros(0),
        )


def _of(values: Any, n: int) -> float:
    return float(values[n % len(values)])


def _cd_matrix(scale: float, angle: float) -> tuple[tuple[float, float], tuple[float, float]]:
    cos, sin = np.cos(angle), np.sin(angle)
    return ((-scale * cos, scale * sin), (scale * sin, scale * cos))


def _blank_border(data: np.ndarray, width: int) -> np.ndarray:
    if width > 0:
        data[:width] = np.nan
        data[-width:] = np.nan
        data[:, :width] = np.nan
        data[:, -width:] = np.nan
    return data


def render_stars(
    shape: tuple[int, int], x: npt.ArrayLike, y: npt.ArrayLike, peak: npt.ArrayLike, fwhm: float
) -> np.ndarray:
    """Draw circular Gaussians of given peaks at zero-based positions, float64[ny, nx]."""
    image = np.zeros(shape)
    sigma = fwhm / FWHM_TO_SIGMA
    reach = int(np.ceil(6.0 * sigma))
    for cx, cy, height in zip(*(np.asarray(v, float) for v in (x, y, peak)), strict=True):
        x0, x1 = max(0, int(cx) - reach), min(shape[1], int(cx) + reach + 1)
        y0, y1 = max(0, int(cy) - reach), min(shape[0], int(cy) + reach + 1)
        if x0 >= x1 or y0 >= y1:
            continue
        gx = np.exp(-((np.arange(x0, x1) - cx) ** 2) / (2.0 * sigma**2))
        gy = np.exp(-((np.arange(y0, y1) - cy) ** 2) / (2.0 * sigma**2))
        image[y0:y1, x0:x1] += height * gy[:, None] * gx[None, :]
    return image


def field_hdus(image: FieldImage, dq: np.ndarray | None = None, exposures: int = 1) -> Any:
    """Return an IMAGE_FOV as astropy HDUList: empty primary, DATA, and DQ if given.

    Parameters
    ----------
    exposures : number of exposures of the observation template, for clients that ask for it
    """
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    ra, dec = image.wcs.crval
    for key, value in (
        ("ORIGIN", "SYNTHETIC"),
        ("TELESCOP", "ESO-VLT-U4"),
        ("INSTRUME", "MUSE"),
        ("OBJECT", "synthetic field"),
        ("RA", ra),
        ("DEC", dec),
        ("EQUINOX", 2000.0),
        ("RADESYS", "FK5"),
        ("EXPTIME", image.exptime),
        ("MJD-OBS", image.mjd),
        ("DATE-OBS", image.date),
        ("HIERARCH ESO INS MODE", image.mode),
        ("HIERARCH ESO TPL START", "2017-09-04T02:24:00"),
        ("HIERARCH ESO TPL NEXP", max(exposures, image.number + 1)),
        ("HIERARCH ESO TPL EXPNO", image.number + 1),
        ("HIERARCH ESO PRO CATG", "IMAGE_FOV"),
        ("HIERARCH ESO DRS MUSE FILTER NAME", "white"),
    ):
        primary.header[key] = value
    data = fits.ImageHDU(image.data, name="DATA")
    (cd11, cd12), (cd21, cd22) = image.wcs.cd
    for key, value in (
        ("BUNIT", "10**(-20)*erg/s/cm**2/Angstrom"),
        ("WCSAXES", 2),
        ("CRPIX1", image.wcs.crpix[0]),
        ("CRPIX2", image.wcs.crpix[1]),
        ("CD1_1", cd11),
        ("CD1_2", cd12),
        ("CD2_1", cd21),
        ("CD2_2", cd22),
        ("CUNIT1", "deg"),
        ("CUNIT2", "deg"),
        ("CTYPE1", "RA---TAN"),
        ("CTYPE2", "DEC--TAN"),
        ("CRVAL1", ra),
        ("CRVAL2", dec),
    ):
        data.header[key] = value
    hdus = fits.HDUList([primary, data])
    if dq is not None:
        hdus.append(fits.ImageHDU(np.asarray(dq, dtype=np.int32), name="DQ"))
    return hdus


def write_fields(images: Iterable[FieldImage], folder: Path | str) -> list[Path]:
    """Write images as ``image_0001.fits`` ... and return the paths."""
    folder = Path(folder)
    exposures = len(images) if isinstance(images, Sized) else 1
    paths = []
    for image in images:
        path = folder / f"image_{image.number + 1:04d}.fits"
        field_hdus(image, exposures=exposures).writeto(path, overwrite=True)
        paths.append(path)
    return paths


def true_offsets(images: Sequence[FieldImage]) -> np.ndarray:
    """Offsets (RA, DEC; degrees of coordinate) that a perfect alignment finds, float64[n, 2]."""
    return np.array([image.error for image in images]) - np.array(images[0].error)
