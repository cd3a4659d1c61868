# SPDX-License-Identifier: BSD-3-Clause
"""What a simulated night shows in physical units, and the truth beside it.

A standard star with a known spectrum, a field of catalogued stars, empty sky, and stars with an emission-line
galaxy: the light of `muse_core.simulate.raw_science` at the times and places that the headers of the night
tell. With it everything from the raw frames to the combined cube can be compared with what went in.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.simulate import calibrations as cal
from muse_core.simulate.airglow import sky_line_list
from muse_core.simulate.arcs import arc_light
from muse_core.simulate.calibrations import response_nodes
from muse_core.simulate.exposure import Light, refraction_shift, sensitivity_table
from muse_core.simulate.headers import ExposureInfo
from muse_core.simulate.kernels import add_sources
from muse_core.simulate.lsf import lsf_parameters
from muse_core.simulate.night_schedule import DEC, RA, NightFrame, NightSetup, pointing_of
from muse_core.simulate.physics import Weather, telluric_transmission
from muse_core.simulate.raw_instrument import IFU_STEP, RawSetup
from muse_core.simulate.raw_science import light_on_slices
from muse_core.simulate.scene import (
    GRID_SIZE,
    GRID_START,
    GRID_STEP,
    Galaxy,
    Scene,
    Star,
    deproject,
    gnomonic,
    wavelength_grid,
)
from muse_core.simulate.scipost import SKY_LEVEL
from muse_core.simulate.star_fields import FLUX_UNIT

PHYSICAL = ("STD", "ASTROMETRY", "OBJECT", "SKY", "ARC")
SEEING = 0.8  # arcsec
SCALE = (0.2003, 0.2001)  # true size of the pixels in x and y [arcsec]
ANGLE = 0.25  # true angle of the axes [deg]
REFERENCE = (-0.01, -1.20)  # pixel, from the middle of the field, that lies at the pointing
UNIT = 1e-20  # erg/s/cm2/A, of all fluxes of a scene
APART = 2.4  # arcsec between the stars of the catalogue
LINE_FLUX = 8  # column of the table of sources that `add_sources` takes


def scenes_of_night(setup: RawSetup, seed: int = 1) -> dict[str, Scene]:
    """Return what each kind of exposure shows, in a field of the size of the IFUs around its middle."""
    half = [0.2 * size for size in _middle_part(setup)]
    rng = np.random.default_rng([seed, 23])
    places = _scattered(rng, (half[0] - 1.6, half[1] - 1.6), APART)
    cluster = tuple(
        Star(x, y, float(10 ** rng.uniform(5.2, 5.9)), float(rng.uniform(3500, 9000))) for x, y in places
    )
    rng = np.random.default_rng([seed, 24])
    # far enough from each other and from the border for apertures, wherever the exposures point
    spots = _scattered(rng, (half[0] - 2.4, half[1] - 2.4), 3.6)[:6]
    stars = tuple(
        Star(x, y, float(10 ** rng.uniform(4.3, 5.2)), float(rng.uniform(3500, 9000))) for x, y in spots[1:]
    )
    galaxy = Galaxy(*spots[0], 4e3, 0.7, 0.8, 30.0, 3e5, 6130.0, 1.0)
    return {
        "STD": Scene((Star(0.11, -0.23, 2.5e6, 15000.0),)),
        "ASTROMETRY": Scene(cluster),
        "OBJECT": Scene(stars, (galaxy,)),
        "SKY": Scene(),
    }


def _middle_part(setup: RawSetup) -> tuple[float, float]:
    """Half the extent in x and y of the IFUs that follow each other at the middle of the field [pixel]."""
    heights = [abs(setup.ifu_centre(ifu)) for ifu in setup.ifus]
    reach = min(heights)
    for height in sorted(heights):
        if height - reach > 1.1 * IFU_STEP:
            break
        reach = height
    return setup.half_field[0], reach + 0.5 * IFU_STEP


def _scattered(
    rng: np.random.Generator, half: tuple[float, float], apart: float
) -> list[tuple[float, float]]:
    """Draw as many places as fit into a rectangle, at most 30, with some distance from each other."""
    places: list[tuple[float, float]] = []
    for _ in range(2000):
        x, y = (float(rng.uniform(-h, h)) for h in half)
        if len(places) < 30 and all(np.hypot(x - a, y - b) > apart for a, b in places):
            places.append((x, y))
    return places


def pixel_matrix() -> npt.NDArray[np.float64]:
    """Return the matrix from pixels to the tangent plane [arcsec]."""
    a = np.deg2rad(ANGLE)
    return np.array(
        [[-SCALE[0] * np.cos(a), SCALE[0] * np.sin(a)], [SCALE[1] * np.sin(a), SCALE[1] * np.cos(a)]]
    )


@lru_cache(maxsize=1)
def _profiles() -> dict[str, npt.NDArray[np.float64]]:
    return lsf_parameters(0.0)


@lru_cache(maxsize=1)
def _lamp(setup: RawSetup, ifu: int, lamp: str) -> npt.NDArray[np.float32]:
    return arc_light(setup, ifu, lamp, lsf=_profiles())


def physical_light(night: NightSetup, frame: NightFrame, ifu: int) -> npt.NDArray[np.float32]:
    """Return the noise-free counts on the trimmed detector of an IFU, pixel response apart."""
    if frame.tag == "ARC":
        return _lamp(night.raw, ifu, frame.lamp)
    scene = night.scenes[frame.tag]
    where = pointing_of(frame)
    ra, dec = sky_places(scene)
    info = ExposureInfo(frame.place, frame.mode, where, frame.mjd, 0.0, "SKY", Weather(), SEEING)
    centre = gnomonic(RA, DEC, where.ra, where.dec)
    light = Light(
        scene, SEEING, np.array([*REFERENCE, *pixel_matrix().ravel()]), (float(centre[0]), float(centre[1])),
        gnomonic(ra, dec, where.ra, where.dec), sky_line_list(), (SKY_LEVEL, 0.0), where.airmass,
        refraction_shift(info),
    )  # fmt: skip
    sources = scene.source_table(SEEING, *light.positions)
    table = sensitivity_table(light, frame.exptime)
    return light_on_slices(night.raw, ifu, light, sources, table, _profiles(), 0.0)


def sky_places(scene: Scene) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return right ascension and declination [deg] of the sources of a scene."""
    xi, eta = ([getattr(source, name) for source in scene.sources] for name in ("xi", "eta"))
    return deproject(xi, eta, RA, DEC)


def write_references(root: Path, night: NightSetup, frames: Sequence[NightFrame]) -> Path:
    """Write STD_FLUX_TABLE and ASTROMETRY_REFERENCE into ``static``, and the truth; returns its path."""
    star = night.scenes["STD"].stars[0]
    flux = UNIT * star.spectrum().astype(float)
    columns = [
        fits.Column("lambda", "D", unit="Angstrom", array=wavelength_grid()),
        fits.Column("flux", "D", unit=FLUX_UNIT, array=flux),
        fits.Column("fluxerr", "D", unit=FLUX_UNIT, array=0.01 * flux),
    ]
    _write_table(root / "static" / "std_flux_table.fits", "STD_FLUX_TABLE", "GD153", columns)
    cluster = night.scenes["ASTROMETRY"]
    ra, dec = sky_places(cluster)
    columns = [
        fits.Column("SourceID", "20A", array=np.array([f"S{k:03d}" for k in range(len(ra))])),
        fits.Column("RA", "D", unit="deg", array=ra),
        fits.Column("DEC", "D", unit="deg", array=dec),
        fits.Column("filter", "8A", array=np.array(["R"] * len(ra))),
        fits.Column(
            "mag", "D", unit="mag", array=[28.0 - 2.5 * np.log10(star.flux) for star in cluster.stars]
        ),
    ]
    _write_table(root / "static" / "astrometry_reference.fits", "ASTROMETRY_REFERENCE", "FIELD", columns)
    path = root / "truth.json"
    path.write_text(json.dumps(truth_of_night(night, frames), indent=1), encoding="utf-8")
    return path


def _write_table(path: Path, tag: str, name: str, columns: list[fits.Column]) -> None:
    table = fits.BinTableHDU.from_columns(columns, name=name)
    table.header["RA"], table.header["DEC"] = RA, DEC
    fits.HDUList([cal.primary_hdu(tag), table]).writeto(path, overwrite=True)


def truth_of_night(night: NightSetup, frames: Sequence[NightFrame]) -> dict[str, object]:
    """Return what went in: sources with their places, scale and angle, response, transmission, lines."""
    scene = night.scenes["OBJECT"]
    ra, dec = sky_places(scene)
    sources = [
        asdict(source) | {"ra": float(a), "dec": float(d)}
        for source, a, d in zip(scene.sources, ra, dec, strict=True)
    ]
    lam, response = response_nodes()
    wave = np.arange(4600.0, 9400.0, 1.25)
    lines = sky_line_list()
    number = len(scene.stars)
    return {
        "setup": asdict(night.raw),
        "stars": sources[:number],
        "galaxies": sources[number:],
        "seeing": SEEING,
        "scale": list(SCALE),
        "angle": ANGLE,
        "response": {"lambda": list(map(float, lam)), "value": list(map(float, response))},
        "telluric": {"lambda": wave.tolist(), "value": telluric_transmission(wave).tolist()},
        "sky_lines": {"lambda": lines.wavelength.tolist(), "flux": lines.flux.tolist()},
        "sky_level": SKY_LEVEL,
        "pointings": [
            [frame.archive_name, pointing_of(frame).ra, pointing_of(frame).dec]
            for frame in frames
            if frame.tag == "OBJECT"
        ],
    }


def sources_on_pixels(
    truth: Mapping[str, Any], xi: npt.NDArray[np.float64], eta: npt.NDArray[np.float64], lam: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return the light of the sources of the object field at some places, without emission lines.

    Parameters
    ----------
    truth : of `truth_of_night`
    xi, eta : float64[n]
        tangent-plane places [arcsec]
    lam : float64[m]
        wavelengths [A]

    Returns
    -------
    float64[m, n]
        flux per spaxel of 0.2 arcsec
    """
    table, spectra = _drawn(truth["stars"], truth["galaxies"])
    return _on_pixels(table, spectra, xi, eta, np.asarray(lam, np.float64))


def share_on_pixels(
    values: Mapping[str, Any],
    xi: npt.NDArray[np.float64],
    eta: npt.NDArray[np.float64],
    lam: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return which part of the light of one source of the truth falls on a spaxel of 0.2 arcsec.

    Returns
    -------
    float64[m, n]
        by wavelength and place; see `sources_on_pixels`
    """
    table, spectra = _drawn([], [values]) if "size" in values else _drawn([values], [])
    return _on_pixels(table, np.ones_like(spectra), xi, eta, lam)


def _drawn(
    stars: Sequence[Mapping[str, Any]], galaxies: Sequence[Mapping[str, Any]]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float32]]:
    """Return sources of the truth as the simulator draws them, without emission lines, and their spectra."""
    scene = Scene(
        tuple(Star(**_own(values)) for values in stars), tuple(Galaxy(**_own(values)) for values in galaxies)
    )
    xi, eta = (np.array([getattr(source, name) for source in scene.sources]) for name in ("xi", "eta"))
    table, spectra = scene.source_table(SEEING, xi, eta)
    table[:, LINE_FLUX] = 0.0
    return table, spectra


def _on_pixels(
    table: npt.NDArray[np.float64],
    spectra: npt.NDArray[np.float32],
    xi: npt.NDArray[np.float64],
    eta: npt.NDArray[np.float64],
    lam: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """Return the light on spaxels, float64[m, n], by the kernel that the frames are made with."""
    light = np.zeros(lam.size * xi.size)
    add_sources(
        np.tile(xi, lam.size), np.tile(eta, lam.size), np.repeat(lam, xi.size), np.zeros((2, GRID_SIZE)),
        np.array([0.0, 0.0, 1.0, 0.0, 0.0, 1.0]), table, spectra, GRID_START, GRID_STEP, 0.0, light,
    )  # fmt: skip
    return 0.04 * light.reshape(lam.size, xi.size)


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ("ra", "dec")}
