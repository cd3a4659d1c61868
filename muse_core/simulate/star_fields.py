# SPDX-License-Identifier: BSD-3-Clause
"""Pixel tables of standard stars and of astrometric fields, with their references and the truth.

The field is a rectangle of spaxels, one slice per row; stars have Moffat profiles whose width and exponent
vary with wavelength, and stand where the atmosphere puts them. Detectors and lines of the sky are left out:
what counts here is light, place and noise of the stars.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.simulate import calibrations as cal
from muse_core.simulate.headers import ExposureInfo, add_pixtable_group, primary_header
from muse_core.simulate.physics import (
    Pointing,
    Weather,
    dispersion_pixels,
    response_curve,
    telluric_transmission,
)
from muse_core.simulate.scene import deproject
from muse_core.simulate.scipost import Simulation
from muse_core.simulate.tablewriter import PixelTableWriter

Floats = npt.NDArray[np.float64]
FLUX_UNIT = "erg/s/cm**2/Angstrom"
FIRST_IFU = 10
BIN_A = 1.25
NOMINAL_SCALE = 0.2
RAW_TYPES = {"PIXTABLE_STD": "STD", "PIXTABLE_ASTROMETRY": "ASTROMETRY"}


@dataclass(frozen=True)
class StarField:
    """What an exposure shows, and how.

    Parameters
    ----------
    nx, ny : int
        spaxels
    first, step, n_lam : float, float, int
        wavelengths of the rows [Angstrom]
    stars : sequence of (x, y, factor)
        pixels from the middle of the field at 7000 Angstrom, and flux in units of the standard star
    fwhm, fwhm_slope : float
        width [pixel] at 7000 Angstrom, and its change over 2300 Angstrom
    beta, beta_slope : float
        exponent, likewise
    elongation : float
        1 + this is the ratio of the axes of the profile
    sky : float
        counts per row
    noise, ron : bool, float
    exptime : float
        seconds
    posang : float
        position angle of the field [deg], written as POSANG with mode STAT
    refraction, telluric : bool
    flagged : float
        part of the rows that is flagged, with nonsense in them
    cosmics : int
        rows with a hit
    lamp : float or None
        level of a flat-field spectrum that the tables carry
    mode : str
    ra, dec : float
    extra : dict
        primary header cards to change (None removes one)
    """

    nx: int = 40
    ny: int = 40
    first: float = 4750.0
    step: float = 1.25
    n_lam: int = 200
    stars: Sequence[tuple[float, float, float]] = ((0.3, -0.4, 1.0),)
    fwhm: float = 3.5
    fwhm_slope: float = -0.3
    beta: float = 2.5
    beta_slope: float = 0.0
    elongation: float = 0.0
    sky: float = 20.0
    noise: bool = True
    ron: float = 3.0
    exptime: float = 30.0
    posang: float = 0.0
    refraction: bool = True
    telluric: bool = True
    flagged: float = 0.0
    cosmics: int = 0
    lamp: float | None = None
    mode: str = "WFM-NOAO-N"
    ra: float = 150.1
    dec: float = -30.2
    extra: dict[str, Any] = field(default_factory=dict)


def star_flux(lam: npt.ArrayLike) -> Floats:
    """Flux of the standard star [erg/s/cm^2/Angstrom]: a hot star with two lines."""
    x = np.asarray(lam, np.float64)
    lines = 0.25 * np.exp(-0.5 * ((x - 4861.0) / 25.0) ** 2) + 0.2 * np.exp(-0.5 * ((x - 6563.0) / 30.0) ** 2)
    return 3e-13 * (x / 6000.0) ** -3.2 * (1.0 - lines)


def moffat(dx: Floats, dy: Floats, fwhm: npt.ArrayLike, beta: npt.ArrayLike) -> Floats:
    """Moffat profile of flux 1."""
    b = np.asarray(beta, np.float64)
    square = (np.asarray(fwhm, np.float64) / 2.0) ** 2 / (2.0 ** (1.0 / b) - 1.0)
    return (b - 1.0) / (np.pi * square) * (1.0 + (dx * dx + dy * dy) / square) ** -b


def counts_of_star(lam: npt.ArrayLike, plan: StarField, airmass: float) -> Floats:
    """Counts per 1.25 Angstrom of the standard star: what a perfect measurement finds."""
    x = np.asarray(lam, np.float64)
    seen = 10.0 ** (0.4 * (response_curve(x) - cal.extinction_curve(x) * airmass))
    if plan.telluric:
        seen = seen * telluric_transmission(x) ** airmass
    return star_flux(x) * seen * plan.exptime * BIN_A


def _header(info: ExposureInfo, plan: StarField, tag: str, ifu: int, name: str) -> fits.Header:
    header = primary_header(info, ifu, name, (1e6, 2e6))
    header["HIERARCH ESO DPR CATG"] = "CALIB"
    header["HIERARCH ESO DPR TYPE"] = RAW_TYPES[tag]
    header["HIERARCH ESO PRO CATG"] = tag
    header["HIERARCH ESO PRO REC1 RAW1 CATG"] = RAW_TYPES[tag]
    for key, value in plan.extra.items():
        full = f"HIERARCH {key}" if key.startswith("ESO ") else key
        header.remove(key, ignore_missing=True)
        if value is not None:
            header[full] = value
    return header


def write_star_tables(
    outdir: Path, plan: StarField, tag: str, number: int, seed: int, slices: int = 24
) -> tuple[list[Path], ExposureInfo]:
    """Write the pixel tables of an exposure, one file for each `slices` rows of the field."""
    rng = np.random.default_rng([seed, number])
    pointing = Pointing(plan.ra, plan.dec, plan.ra * 240.0 + 3000.0, plan.exptime)
    weather = Weather()
    info = ExposureInfo(
        number, plan.mode, pointing, 57800.25 + 0.01 * number, plan.posang, "STAT", weather, 0.8, "GD71"
    )  # fmt: skip
    narrow = plan.mode.startswith("NFM")
    paths = []
    for first in range(0, plan.ny, slices):
        rows = np.arange(first, min(first + slices, plan.ny))
        ifu = FIRST_IFU + first // slices
        shape = (rows.size, plan.n_lam, plan.nx)
        jitter = 0.3 * (rng.random((rows.size, 1, 1)) - 0.5)
        lam = np.broadcast_to(plan.first + plan.step * np.arange(plan.n_lam)[None, :, None] + jitter, shape)
        lam = lam.astype(np.float32).astype(np.float64)
        x = np.broadcast_to(np.arange(plan.nx) - 0.5 * (plan.nx - 1), shape) + 0.1 * (
            rng.random(shape[::2])[:, None] - 0.5
        )
        y = np.broadcast_to((rows - 0.5 * (plan.ny - 1))[:, None, None], shape) + 0.0
        counts = _light(plan, lam, x, y, pointing)
        if plan.refraction and not narrow:
            shift = dispersion_pixels(lam, 7000.0, pointing.airmass, weather)
            angle = np.deg2rad(_parallactic(pointing) + plan.posang)
            x, y = x + np.sin(angle) * shift, y - np.cos(angle) * shift
        variance = np.maximum(counts, 0.0) + plan.ron**2
        data = counts + (rng.normal(size=shape) * np.sqrt(variance) if plan.noise else 0.0)
        if plan.lamp is not None:
            data, variance = data / plan.lamp, variance / plan.lamp**2
        flags = np.zeros(shape, np.int32)
        if plan.flagged:
            bad = rng.random(shape) < plan.flagged
            data[bad], flags[bad] = 1e5, 1 << 8
        for _ in range(plan.cosmics // max(1, -(-plan.ny // slices))):
            data[tuple(rng.integers(0, n) for n in shape)] += rng.uniform(3e3, 3e4)
        path = outdir / f"{tag}_{number:04d}-{ifu:02d}.fits"
        header = _header(info, plan, tag, ifu, path.name)
        numbers = np.arange(1, rows.size + 1)
        limits = {"X": (x.min(), x.max()), "Y": (y.min(), y.max()), "LAMBDA": (lam.min(), lam.max())}
        add_pixtable_group(header, ifu, list(numbers), [0] * rows.size, limits)
        origin = (
            (np.arange(plan.nx)[None, None, :] & 127) << 24
            | (np.arange(1, plan.n_lam + 1)[None, :, None] & 0x1FFF) << 11
            | ifu << 6
            | numbers[:, None, None]
        )
        lamp = (
            None if plan.lamp is None else (plan.first + np.arange(-3.0, plan.step * plan.n_lam + 3.0, 1.25),)
        )
        with PixelTableWriter(
            path, header, data.size,
            flat_field=None if lamp is None else (lamp[0], np.full(lamp[0].size, plan.lamp)),
        ) as writer:  # fmt: skip
            columns = {
                "xpos": x, "ypos": y, "lambda": lam, "data": data, "dq": flags, "stat": variance,
                "origin": np.broadcast_to(origin, shape),
            }  # fmt: skip
            writer.write(0, {name: np.ascontiguousarray(values).ravel() for name, values in columns.items()})
        paths.append(path)
    return paths, info


def _parallactic(pointing: Pointing) -> float:
    return 0.5 * (pointing.parallactic_angle_at(0.0) + pointing.parallactic_angle_at(pointing.exptime))


def _light(plan: StarField, lam: Floats, x: Floats, y: Floats, pointing: Pointing) -> Floats:
    """Return the expected counts of rows."""
    u = (lam - 7000.0) / 2300.0
    counts = plan.sky * (1.0 + 0.2 * u)
    flux = counts_of_star(lam, plan, pointing.airmass)
    stretch = np.sqrt(1.0 + plan.elongation)
    for sx, sy, factor in plan.stars:
        shape = moffat((x - sx) / stretch, (y - sy) * stretch, plan.fwhm + plan.fwhm_slope * u,
                       plan.beta + plan.beta_slope * u)  # fmt: skip
        counts = counts + factor * flux * shape
    return counts


def write_flux_table(path: Path, plan: StarField, *, calspec: bool = False) -> Path:
    """Write STD_FLUX_TABLE: the standard star, and another one far away."""
    lam = np.arange(3500.0, 10200.0, 5.0)
    hdus: list[Any] = [cal.primary_hdu("STD_FLUX_TABLE")]
    for name, ra, dec, factor in (
        ("OTHER", plan.ra + 40.0, plan.dec + 20.0, 2.0),
        ("GD71", plan.ra + 0.0005, plan.dec - 0.0003, 1.0),
    ):
        flux = factor * star_flux(lam)
        if calspec:
            vacuum = lam * (1.0 + 2.735182e-4 + 131.4182 / lam**2 + 2.76249e8 / lam**4)
            columns = [
                fits.Column("WAVELENGTH", "D", unit="ANGSTROMS", array=vacuum),
                fits.Column("FLUX", "E", unit="FLAM", array=flux),
                fits.Column("STATERROR", "E", unit="FLAM", array=0.006 * flux),
                fits.Column("SYSERROR", "E", unit="FLAM", array=0.008 * flux),
                fits.Column("FWHM", "E", unit="ANGSTROMS", array=np.full(lam.size, 5.0)),
                fits.Column("DATAQUAL", "I", array=np.ones(lam.size, np.int16)),
                fits.Column("TOTEXP", "E", unit="SEC", array=np.ones(lam.size)),
            ]
        else:
            columns = [
                fits.Column("lambda", "D", unit="Angstrom", array=lam),
                fits.Column("flux", "D", unit=FLUX_UNIT, array=flux),
                fits.Column("fluxerr", "D", unit=FLUX_UNIT, array=0.01 * flux),
            ]
        hdu = fits.BinTableHDU.from_columns(columns, name=name)
        hdu.header["RA"], hdu.header["DEC"] = ra, dec
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def write_bands(path: Path, regions: Sequence[tuple[float, float, float, float]]) -> Path:
    """Write TELLURIC_REGIONS."""
    values = np.array(regions, np.float64).T
    columns = [
        fits.Column(name, "D", unit="Angstrom", array=column)
        for name, column in zip(("lmin", "lmax", "bgmin", "bgmax"), values, strict=True)
    ]
    table = fits.BinTableHDU.from_columns(columns)
    fits.HDUList([cal.primary_hdu("TELLURIC_REGIONS"), table]).writeto(path, overwrite=True)
    return path


def simulate_standard(
    outdir: Path, plan: StarField | None = None, *, seed: int = 1, exposures: int = 1, calspec: bool = False
) -> Simulation:
    """Write exposures of a standard star and all calibrations of muse_standard.

    The truth (file truth.json): wavelengths, counts of the star, response and transmission.
    """
    plan = plan or StarField()
    outdir.mkdir(parents=True, exist_ok=True)
    sof: list[tuple[Path, str]] = []
    airmass = 1.0
    for number in range(1, exposures + 1):
        paths, info = write_star_tables(outdir, plan, "PIXTABLE_STD", number, seed)
        airmass = info.pointing.airmass
        sof += [(path, "PIXTABLE_STD") for path in paths]
    sof.append((cal.write_extinction(outdir / "extinct_table.fits"), "EXTINCT_TABLE"))
    sof.append((write_flux_table(outdir / "std_flux_table.fits", plan, calspec=calspec), "STD_FLUX_TABLE"))
    sof.append((_write_bands_of_photometry(outdir / "filter_list.fits"), "FILTER_LIST"))
    lam = np.arange(plan.first, plan.first + plan.step * plan.n_lam, 1.25)
    truth = {
        "plan": {**asdict(plan), "stars": [list(star) for star in plan.stars]},
        "airmass": airmass,
        "lambda": lam.tolist(),
        "counts": counts_of_star(lam, plan, airmass).tolist(),
        "response": response_curve(lam).tolist(),
        "telluric": telluric_transmission(lam).tolist(),
    }
    (outdir / "truth.json").write_text(json.dumps(truth))
    return Simulation(outdir, tuple(sof), truth)


def _write_bands_of_photometry(path: Path) -> Path:
    lam = np.arange(4000.0, 10000.0, 10.0)
    hdus: list[Any] = [cal.primary_hdu("FILTER_LIST")]
    for name, centre, width in (
        ("Johnson_V", 5500.0, 350.0),
        ("Cousins_R", 6500.0, 500.0),
        ("Cousins_I", 8000.0, 500.0),
    ):
        curve = np.exp(-0.5 * ((lam - centre) / width) ** 2)
        columns = [
            fits.Column("lambda", "D", unit="Angstrom", array=lam),
            fits.Column("throughput", "D", array=curve),
        ]
        hdu = fits.BinTableHDU.from_columns(columns)
        hdu.header["EXTNAME"] = name
        hdu.header["ZP_VEGA"], hdu.header["ZP_AB"] = 21.0, 20.9
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def simulate_astrometric_field(
    outdir: Path,
    plan: StarField | None = None,
    *,
    seed: int = 1,
    n_stars: int = 18,
    n_more: int = 6,
    scale: tuple[float, float] = (0.2005, 0.1998),
    angles_deg: tuple[float, float] = (0.31, 0.36),
    reference: tuple[float, float] = (-0.5, -1.7),
    error_mas: float = 0.0,
    exposures: int = 1,
) -> Simulation:
    """Write exposures of a field of stars and the catalogue, for muse_astrometry.

    Parameters
    ----------
    plan : StarField
        its stars are drawn here; `posang` is the position angle of the field
    n_more : int
        stars of the catalogue that the field does not show
    scale, angles_deg : (x, y)
        true size of the pixels [arcsec] and directions of the axes of the instrument, without position angle
    reference : (x, y)
        pixel, from the middle of the field, that lies at the pointing
    error_mas : float
        errors of the catalogue
    """
    plan = plan or StarField(
        nx=110, ny=110, first=6825.0, step=25.0, n_lam=14, fwhm=4.0, sky=10.0, telluric=False
    )
    rng = np.random.default_rng([seed, 77])
    room = 0.5 * min(plan.nx, plan.ny) - 8.0
    places: list[tuple[float, float]] = []
    apart = 3.0 * plan.fwhm
    while len(places) < n_stars:
        x, y = rng.uniform(-room, room, 2)
        if all(np.hypot(x - a, y - b) > apart for a, b in places):
            places.append((float(x), float(y)))
        else:
            apart *= 0.999
    factors = 10.0 ** rng.uniform(-1.6, -0.3, n_stars)
    stars = tuple((x, y, float(f)) for (x, y), f in zip(places, factors, strict=True))
    plan = StarField(**{**{k: getattr(plan, k) for k in plan.__dataclass_fields__}, "stars": stars})
    outdir.mkdir(parents=True, exist_ok=True)
    xa, ya = np.deg2rad(angles_deg)
    cd = np.array([
        [-scale[0] * np.cos(xa), scale[0] * np.sin(xa)],
        [scale[1] * np.sin(ya), scale[1] * np.cos(ya)],
    ]) / 3600.0  # fmt: skip
    p = np.deg2rad(plan.posang)
    turned = np.array([[np.cos(p), -np.sin(p)], [np.sin(p), np.cos(p)]]) @ cd
    offsets = np.array(places).T - np.array(reference)[:, None]
    xi, eta = turned @ offsets
    ra, dec = deproject(3600.0 * xi, 3600.0 * eta, plan.ra, plan.dec)
    error = error_mas / 3.6e6
    ra = np.asarray(ra) + rng.normal(size=n_stars) * error / np.cos(np.deg2rad(plan.dec))
    dec = np.asarray(dec) + rng.normal(size=n_stars) * error
    mag = 15.0 - 2.5 * np.log10(factors) + rng.normal(size=n_stars) * 0.05
    more = rng.uniform(-0.5, 0.5, (2, n_more)) * min(plan.nx, plan.ny) * NOMINAL_SCALE / 3600.0
    ra = np.append(ra, plan.ra + more[0] / np.cos(np.deg2rad(plan.dec)))
    dec, mag = np.append(dec, plan.dec + more[1]), np.append(mag, rng.uniform(18.5, 20.5, n_more))
    sof: list[tuple[Path, str]] = []
    for number in range(1, exposures + 1):
        paths, _ = write_star_tables(outdir, plan, "PIXTABLE_ASTROMETRY", number, seed)
        sof += [(path, "PIXTABLE_ASTROMETRY") for path in paths]
    catalogue = write_star_catalogue(outdir / "astrometry_reference.fits", plan, ra, dec, mag, rng)
    sof.append((catalogue, "ASTROMETRY_REFERENCE"))
    sof.append((cal.write_extinction(outdir / "extinct_table.fits"), "EXTINCT_TABLE"))
    sof.append((cal.write_response(outdir / "std_response.fits"), "STD_RESPONSE"))
    truth = {
        "plan": {**asdict(plan), "stars": [list(star) for star in plan.stars]},
        "cd": cd.tolist(),
        "turned": turned.tolist(),
        "x": [x + 0.5 * (plan.nx + 1) for x, _ in places],
        "y": [y + 0.5 * (plan.ny + 1) for _, y in places],
        "ra": np.asarray(ra)[:n_stars].tolist(),
        "dec": np.asarray(dec)[:n_stars].tolist(),
    }
    (outdir / "truth.json").write_text(json.dumps(truth))
    return Simulation(outdir, tuple(sof), truth)


def write_star_catalogue(
    path: Path, plan: StarField, ra: Floats, dec: Floats, mag: Floats, rng: np.random.Generator
) -> Path:
    """Write ASTROMETRY_REFERENCE: the field in any order, and another one far away."""
    order = rng.permutation(ra.size)
    hdus: list[Any] = [cal.primary_hdu("ASTROMETRY_REFERENCE")]
    far = (np.array([10.0, 10.01, 10.02]), np.array([5.0, 5.01, 5.02]), np.array([15.0, 16.0, 17.0]))
    for name, at, values in (
        ("FAR", (10.0, 5.0), far),
        ("FIELD", (plan.ra, plan.dec), (ra[order], dec[order], mag[order])),
    ):
        n = values[0].size
        columns = [
            fits.Column("SourceID", "20A", array=np.array([f"S{k:03d}" for k in range(n)])),
            fits.Column("RA", "D", unit="deg", array=values[0]),
            fits.Column("DEC", "D", unit="deg", array=values[1]),
            fits.Column("filter", "8A", array=np.array(["R"] * n)),
            fits.Column("mag", "D", unit="mag", array=values[2]),
        ]
        hdu = fits.BinTableHDU.from_columns(columns, name=name)
        hdu.header["RA"], hdu.header["DEC"] = at
        hdus.append(hdu)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
