# SPDX-License-Identifier: BSD-3-Clause
"""Synthetic pairs of an HST and a MUSE image of one sky, with known truth, for the tests of imphot.

Stars are drawn in the image plane, exponential discs in the Fourier plane where their transform
(1 + (2 pi h k)^2)^-3/2 is known, so both images are exact renderings of the same sky.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["PairTruth", "Sky", "make_pair", "make_sky", "with_noise", "write_pair"]

HST_PSF = (0.085, 1.6)
PHOTFLAM_F775W = 9.74e-20
MUSE_UNIT = 1e-20
EDGE = 6.0  # arcsec of sky rendered beyond the images


Pair = tuple[np.ndarray, Any, np.ndarray, Any]  # HST image and header, MUSE image and header


@dataclass(frozen=True)
class Sky:
    """Sources: offsets from the field centre east and north [arcsec], fluxes in MUSE units."""

    star_xi: np.ndarray
    star_eta: np.ndarray
    star_flux: np.ndarray
    disc_xi: np.ndarray
    disc_eta: np.ndarray
    disc_flux: np.ndarray
    disc_radius: np.ndarray
    disc_ratio: np.ndarray
    disc_angle: np.ndarray


@dataclass(frozen=True)
class PairTruth:
    """What the fit is to find, and how the images are taken.

    ``seeing`` "kolmogorov" gives MUSE the profile of turbulence of this width in place of the Moffat;
    ``colours`` is the scatter from source to source of the logarithm of the flux ratio of MUSE and HST;
    ``turn`` [degrees] and ``stretch`` are errors of the coordinates about the middle of the MUSE image that
    its header does not tell; ``exptime`` [s] is written into the header of the HST image.
    """

    fwhm: float = 0.65
    beta: float = 2.5
    dx: float = 0.12
    dy: float = -0.21
    scale: float = 0.95
    bg: float = 0.5
    noise: float = 1.0
    hst_noise: float = 0.0
    size: float = 24.0
    rotation: float = 0.0
    hst_rotation: float = 0.0
    hst_step: float = 0.03
    muse_step: float = 0.2
    ra: float = 53.1625
    dec: float = -27.7915
    field_rotation: float | None = None
    border: int = 0
    moved_stars: float = 0.0
    star_scale: float = 1.0
    shape: tuple[int, int] | None = None
    seeing: str = "moffat"
    colours: float = 0.0
    turn: float = 0.0
    stretch: float = 0.0
    exptime: float = 0.0
    extra: dict = field(default_factory=dict)


def make_sky(
    seed: int,
    size: float,
    nstar: int = 4,
    ndisc: int = 50,
    star_flux: tuple[float, float] = (300.0, 4000.0),
    disc_flux: tuple[float, float] = (20.0, 1500.0),
    bright_edge: bool = False,
) -> Sky:
    """Draw a random sky that reaches beyond a field of the given size [arcsec]."""
    rng = np.random.default_rng(seed)
    half = 0.5 * size + 2.0

    def log_uniform(low: float, high: float, n: int) -> np.ndarray:
        return np.exp(rng.uniform(np.log(low), np.log(high), n))

    xi, eta = rng.uniform(-0.42 * size, 0.42 * size, (2, nstar))
    flux = log_uniform(*star_flux, nstar)
    if bright_edge and nstar:
        xi[0], eta[0], flux[0] = 0.5 * size - 0.3, 0.1 * size, star_flux[1]
    disc_xi, disc_eta = rng.uniform(-half, half, (2, ndisc))
    return Sky(
        xi,
        eta,
        flux,
        disc_xi,
        disc_eta,
        log_uniform(*disc_flux, ndisc),
        rng.uniform(0.1, 0.6, ndisc),
        rng.uniform(0.4, 1.0, ndisc),
        rng.uniform(0.0, np.pi, ndisc),
    )


def _header(shape: tuple[int, int], step: float, rotation: float, ra: float, dec: float) -> Any:
    from astropy.io import fits

    angle = np.radians(rotation)
    c, s = np.cos(angle) * step / 3600.0, np.sin(angle) * step / 3600.0
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CUNIT1"] = header["CUNIT2"] = "deg"
    header["CRVAL1"], header["CRVAL2"] = ra, dec
    header["CRPIX1"], header["CRPIX2"] = 0.5 * (shape[1] + 1), 0.5 * (shape[0] + 1)
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -c, s, s, c
    header["RADESYS"] = "ICRS"
    return header


def kolmogorov_otf(frequency: np.ndarray, fwhm: float) -> np.ndarray:
    """Transfer function of long exposures through turbulence of a seeing of this width.

    Fried (1966), JOSA 56, 1372, for a large telescope; the width is 0.976 lambda / r0.
    """
    return np.exp(-3.44 * (np.asarray(frequency) * fwhm / 0.976) ** (5.0 / 3.0))


def _render(
    sky: Sky,
    shape: tuple[int, int],
    step: float,
    rotation: float,
    fwhm: float,
    beta: float,
    shift: tuple[float, float] = (0.0, 0.0),
    star_move: float = 0.0,
    star_scale: float = 1.0,
    warp: tuple[tuple[float, float], tuple[float, float]] = ((0.0, 0.0), (0.0, 0.0)),
    kolmogorov: bool = False,
) -> np.ndarray:
    """Image of the sky through a Moffat or a turbulent atmosphere, in flux per pixel.

    shift moves it along x and y [arcsec]; warp is the matrix of further moves that grow with the distance
    from the middle.
    """
    from scipy import fft

    from imphot.engines.moffat import moffat_profile, otf_closed

    pad = int(np.ceil(EDGE / step))
    fine = max(int(np.ceil(step / 0.1)), 1)
    grid = tuple(fft.next_fast_len(n + 2 * pad, real=True) for n in shape)
    big = tuple(n * fine for n in grid)
    angle = np.radians(rotation)
    c, s = np.cos(angle), np.sin(angle)
    # the inverse of the CD matrix of _header: x along -xi turned by the rotation
    cy, cx = 0.5 * (shape[0] - 1), 0.5 * (shape[1] - 1)

    def place(xi: np.ndarray, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        x, y = (-c * xi + s * eta) / step + cx, (s * xi + c * eta) / step + cy
        moved_x = shift[0] / step + warp[0][0] * (x - cx) + warp[0][1] * (y - cy)
        moved_y = shift[1] / step + warp[1][0] * (x - cx) + warp[1][1] * (y - cy)
        return x + moved_x, y + moved_y

    v = fft.fftfreq(big[0], step / fine)[:, None]
    u = fft.rfftfreq(big[1], step / fine)[None, :]
    spectrum = np.zeros((big[0], big[1] // 2 + 1), complex)
    xs, ys = place(sky.star_xi + star_move, sky.star_eta)
    for x0, y0, flux in zip(xs, ys, sky.star_flux * star_scale, strict=True) if kolmogorov else ():
        turn = np.exp(-2j * np.pi * (y0 + pad) * step * v) * np.exp(-2j * np.pi * (x0 + pad) * step * u)
        spectrum += flux * turn
    x, y = place(sky.disc_xi, sky.disc_eta)
    for i in range(sky.disc_flux.size):
        turn = np.exp(-2j * np.pi * (y[i] + pad) * step * v) * np.exp(-2j * np.pi * (x[i] + pad) * step * u)
        a = sky.disc_angle[i] - angle
        along, across = u * np.cos(a) + v * np.sin(a), (v * np.cos(a) - u * np.sin(a)) * sky.disc_ratio[i]
        profile = (1.0 + (2.0 * np.pi * sky.disc_radius[i]) ** 2 * (along**2 + across**2)) ** -1.5
        spectrum += sky.disc_flux[i] * profile * turn
    radius = np.hypot(v, u)
    table = np.linspace(0.0, float(radius.max()) * 1.001, 16384)
    profile = kolmogorov_otf(table, fwhm) if kolmogorov else otf_closed(table, fwhm, beta)
    spectrum *= np.interp(radius, table, profile)
    image = fft.irfft2(spectrum, big)[::fine, ::fine][pad : pad + shape[0], pad : pad + shape[1]] * fine**2
    iy, ix = np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]
    for x0, y0, flux in () if kolmogorov else zip(xs, ys, sky.star_flux, strict=True):
        r2 = ((iy - y0) ** 2 + (ix - x0) ** 2) * step**2
        image += flux * star_scale * moffat_profile(r2, fwhm, beta) * step**2
    return image


def coloured(sky: Sky, scatter: float, seed: int = 5) -> Sky:
    """The sky in another band: fluxes with factors of mean one that differ from source to source."""
    if not scatter:
        return sky
    rng = np.random.default_rng(seed)
    sizes = sky.star_flux.size, sky.disc_flux.size
    stars, discs = (np.exp(scatter * rng.standard_normal(n) - 0.5 * scatter**2) for n in sizes)
    return replace(sky, star_flux=sky.star_flux * stars, disc_flux=sky.disc_flux * discs)


def make_pair(sky: Sky, truth: PairTruth) -> Pair:
    """Noiseless HST image (counts per second) and MUSE image (1e-20 erg/s/cm2/A) with their headers.

    Returns
    -------
    hst, hst_header, muse, muse_header : array, Header, array, Header
        MUSE pixels outside the rotated field are NaN
    """
    shape = truth.shape or (round(truth.size / truth.muse_step),) * 2
    side = round(
        (1.45 * truth.size if truth.rotation or truth.hst_rotation else truth.size + 8.0) / truth.hst_step
    )
    hst = _render(sky, (side, side), truth.hst_step, truth.hst_rotation, *HST_PSF)
    hst /= PHOTFLAM_F775W / MUSE_UNIT
    turn = np.radians(truth.turn)
    warp = ((truth.stretch, -turn), (turn, truth.stretch))
    muse = _render(
        coloured(sky, truth.colours),
        shape,
        truth.muse_step,
        truth.rotation,
        truth.fwhm,
        truth.beta,
        (truth.dx, truth.dy),
        truth.moved_stars,
        truth.star_scale,
        warp,
        truth.seeing == "kolmogorov",
    )
    muse = truth.scale * muse + truth.bg
    hst_header = _header(hst.shape, truth.hst_step, truth.hst_rotation, truth.ra, truth.dec)
    hst_header["FILTER"], hst_header["TELESCOP"], hst_header["BUNIT"] = "F775W", "HST", "ELECTRONS/S"
    if truth.exptime:
        hst_header["EXPTIME"] = truth.exptime
    muse_header = _header(shape, truth.muse_step, truth.rotation, truth.ra, truth.dec)
    muse_header["BUNIT"] = "10**(-20)*erg/s/cm**2/Angstrom"
    if truth.border:
        b = truth.border
        muse[:b], muse[-b:], muse[:, :b], muse[:, -b:] = (np.nan,) * 4
    if truth.field_rotation is not None:
        a = np.radians(truth.field_rotation)
        y = (np.arange(shape[0]) - 0.5 * (shape[0] - 1))[:, None]
        x = (np.arange(shape[1]) - 0.5 * (shape[1] - 1))[None, :]
        half = 0.5 * shape[0] / (abs(np.cos(a)) + abs(np.sin(a))) * 1.08
        outside = (np.abs(x * np.cos(a) + y * np.sin(a)) > half) | (
            np.abs(y * np.cos(a) - x * np.sin(a)) > half
        )
        muse[outside] = np.nan
    return hst, hst_header, muse, muse_header


def with_noise(pair: Pair, truth: PairTruth, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The pair with one realisation of the noise: HST image, MUSE image, MUSE variance."""
    hst, _, muse, _ = pair
    rng = np.random.default_rng(seed)
    noisy = muse + truth.noise * rng.standard_normal(muse.shape) if truth.noise else muse.copy()
    seen = hst + truth.hst_noise * rng.standard_normal(hst.shape) if truth.hst_noise else hst
    variance = np.full(muse.shape, max(truth.noise, 1e-3) ** 2)
    return seen.astype(np.float32), noisy.astype(np.float32), variance.astype(np.float32)


def write_pair(
    folder: Path | str,
    name: str,
    pair: Pair,
    truth: PairTruth,
    seed: int = 0,
    date: str = "2026-01-01T00:00:00",
) -> tuple[Path, Path]:
    """Write one realisation as NAME_hst.fits and NAME_muse.fits; return the two paths."""
    from astropy.io import fits

    hst, muse, variance = with_noise(pair, truth, seed)
    folder = Path(folder)
    paths = folder / f"{name}_hst.fits", folder / f"{name}_muse.fits"
    fits.PrimaryHDU(hst, pair[1]).writeto(paths[0], overwrite=True)
    primary = fits.PrimaryHDU()
    primary.header.update({"TELESCOP": "ESO-VLT-U4", "INSTRUME": "MUSE", "OBJECT": name, "DATE-OBS": date})
    primary.header.update({"MJD-OBS": 61041.0, "RA": truth.ra, "DEC": truth.dec})
    stat = pair[3].copy()
    stat["BUNIT"] = "(10**(-20)*erg/s/cm**2/Angstrom)**2"
    fits.HDUList(
        [primary, fits.ImageHDU(muse, pair[3], "DATA"), fits.ImageHDU(variance, stat, "STAT")]
    ).writeto(paths[1], overwrite=True)
    return paths
