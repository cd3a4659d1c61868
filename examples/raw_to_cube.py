# SPDX-License-Identifier: BSD-3-Clause
"""From simulated raw frames to the combined cube, with the truth beside it.

    python examples/raw_to_cube.py OUT          our recipes
    python examples/raw_to_cube.py OUT --c      those of the C pipeline (esorex), too

Sky flats -> muse_twilight -> TWILIGHT_CUBE; raw science frames -> muse_scibasic -> pixel tables;
muse_scipost -> a reduced table, a cube and an image of each exposure; muse_exp_align -> offsets;
muse_exp_combine -> one cube. The position and flux of each star and the wavelengths of the sky lines are
compared with what went in.
"""

from __future__ import annotations

import argparse
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from muse_core.framework import run_recipe
from muse_core.simulate.raw import RawSetup
from muse_core.simulate.raw_instrument import ifu_throughput
from muse_core.simulate.raw_science import RawScience, simulate_raw_science
from muse_core.simulate.scene import Star, wavelength_grid

Frames = list[tuple[Path, str]]
Runner = Callable[[str, Frames, Mapping[str, object], Path], dict[str, list[Path]]]
RADIUS = 1.6  # arcsec around a star
RING = (1.8, 2.6)  # arcsec of its background
SPAXEL = 0.2  # arcsec
MOFFAT = 2.8  # exponent of the simulated stars; their width goes with wavelength ** -0.2
SETUP = RawSetup(nx=384, ny=210, ifus=(1, 2, 3), lambda_min=5480.0, lambda_max=7020.0, cosmics=20)
BAND = {"lambdamin": 5520.0, "lambdamax": 6980.0, "dlambda": 4.0}
SCIPOST = BAND | {"skymethod": "simple", "rvcorr": "none", "save": "cube,individual"}
CALIBRATIONS = ("EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC", "ASTROMETRY_WCS", "FILTER_LIST")


def run_ours(
    recipe: str, frames: Frames, options: Mapping[str, object], folder: Path
) -> dict[str, list[Path]]:
    """Run one of our recipes; returns its products by tag."""
    folder.mkdir(parents=True, exist_ok=True)
    products: dict[str, list[Path]] = {}
    for product in run_recipe(recipe, frames, options, workdir=folder):
        products.setdefault(product.tag, []).append(product.path)
    return products


def run_c(recipe: str, frames: Frames, options: Mapping[str, object], folder: Path) -> dict[str, list[Path]]:
    """Run a C recipe with esorex; returns its products by category."""
    folder = folder.resolve()  # where esorex runs, too
    folder.mkdir(parents=True, exist_ok=True)
    sof = folder / f"{recipe}.sof"
    sof.write_text("".join(f"{path.resolve()} {tag}\n" for path, tag in frames))
    before = set(folder.glob("*.fits"))
    words = [
        f"--{name}={str(value).upper() if isinstance(value, bool) else value}"
        for name, value in options.items()
    ]
    command = ["esorex", f"--output-dir={folder}", f"--log-dir={folder}", recipe, *words, str(sof)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        raise RuntimeError(f"{' '.join(command)} ended with status {done.returncode}:\n{last}")
    products: dict[str, list[Path]] = {}
    for path in sorted(set(folder.glob("*.fits")) - before):
        products.setdefault(fits.getheader(path)["ESO PRO CATG"], []).append(path)
    return products


@dataclass(frozen=True)
class Check:
    """What came out, beside what went in.

    Attributes
    ----------
    positions : float64[n]
        Distance of each star from its place (arcsec).
    fluxes : float64[n]
        Flux of each star over that of a noise-free image, relative to the median of all.
    level : float
        That median; 1 if the calibration is right as a whole.
    shift : float
        Mean error of the wavelengths after muse_scibasic (Angstrom), from the keywords.
    cube : Path
    offset : float
        By how much the whole field is off (arcsec); 0 below one arcsec, where it counts in the positions. The
        C pipeline takes the middle of the data for the middle of the field.
    """

    positions: np.ndarray
    fluxes: np.ndarray
    level: float
    shift: float
    cube: Path
    offset: float = 0.0


def reduce(science: RawScience, folder: Path, runner: Runner, ifus: tuple[int, ...], shift: float) -> Check:
    """Run the whole chain and compare with the truth.

    Parameters
    ----------
    science : RawScience
    folder : Path
    runner : callable
        `run_ours` or `run_c`.
    ifus : tuple of int
    shift : float
        That was put into the raw frames (Angstrom).
    """
    low_order = {"overscan": "vpoly:6"}
    flat = {"lambdamin": BAND["lambdamin"], "lambdamax": BAND["lambdamax"]} | low_order
    twilight = runner("muse_twilight", science.skyflats, flat, folder / "twilight")
    raw = [*science.raw, (twilight["TWILIGHT_CUBE"][0], "TWILIGHT_CUBE")]
    tables: list[Path] = []
    for ifu in ifus:  # the C recipe ends at the first IFU that is not in the data
        made = runner("muse_scibasic", raw, {"nifu": ifu} | low_order, folder / "scibasic")
        tables += made["PIXTABLE_OBJECT"]
    shifts = [fits.getval(path, "ESO QC SCIBASIC LAMBDA SHIFT") for path in tables]

    calibrations = [frame for frame in science.calibrations if frame[1] in CALIBRATIONS]
    exposures = []
    for number in sorted({path.stem[-7:-3] for path in tables}):
        own = [(path, "PIXTABLE_OBJECT") for path in tables if path.stem[-7:-3] == number]
        exposures.append(runner("muse_scipost", [*own, *calibrations], SCIPOST, folder / f"scipost_{number}"))
    cube = exposures[0]["DATACUBE_FINAL"][0]
    if len(exposures) > 1:
        cube = combine(exposures, runner, folder)
    wcs, offset = celestial(cube, science.truth["stars"])
    measured, expected = images(cube, wcs, science.truth)
    distances, found = measure_stars(measured, wcs, science.truth["stars"])
    _, true = measure_stars(expected, wcs, science.truth["stars"])
    # all data are on the level of the first IFU, and the response is that of a mean one
    ratio = found / true / ifu_throughput(SETUP)[min(ifus)]
    level = float(np.median(ratio))
    return Check(distances, ratio / level, level, float(np.mean(shifts)) + shift, cube, offset)


def combine(exposures: list[dict[str, list[Path]]], runner: Runner, folder: Path) -> Path:
    """Align the exposures and combine them; returns the cube."""
    views = [(made["IMAGE_FOV"][0], "IMAGE_FOV") for made in exposures]
    offsets = runner("muse_exp_align", views, {"srcmin": 2, "threshold": 8.0}, folder / "align")
    together = [(made["PIXTABLE_REDUCED"][0], "PIXTABLE_REDUCED") for made in exposures]
    together.append((offsets["OFFSET_LIST"][0], "OFFSET_LIST"))
    return runner("muse_exp_combine", together, BAND, folder / "final")["DATACUBE_FINAL"][0]


def star_of(truth: dict) -> Star:
    """A simulated star."""
    return Star(*(truth[name] for name in ("xi", "eta", "flux", "temperature")))


def celestial(cube: Path, stars: list[dict]) -> tuple[WCS, float]:
    """Coordinates of a cube, moved if the brightest star is more than one arcsec away from its place."""
    with fits.open(cube) as hdus:
        data = hdus["DATA"].data
        seen = np.isfinite(data).sum(axis=0)
        image = np.where(seen > 0, np.nansum(data, axis=0) / np.maximum(seen, 1), np.nan)
        wcs = WCS(hdus["DATA"].header).celestial
    inside = (wavelength_grid() > BAND["lambdamin"]) & (wavelength_grid() < BAND["lambdamax"])
    brightest = max(stars, key=lambda star: star_of(star).spectrum()[inside].mean())
    iy, ix = np.unravel_index(np.nanargmax(image), image.shape)
    part = (slice(max(iy - 4, 0), iy + 5), slice(max(ix - 4, 0), ix + 5))
    light = np.nan_to_num(image[part] - np.nanmedian(image))
    rows, columns = np.indices(image.shape)
    found = [float((light * axis[part]).sum() / light.sum()) for axis in (columns, rows)]
    away = np.array(found) - wcs.wcs_world2pix([[brightest["ra"], brightest["dec"]]], 0)[0]
    offset = SPAXEL * float(np.hypot(*away))
    if offset < 1.0:
        return wcs, 0.0
    wcs.wcs.crpix += away
    wcs.wcs.set()
    return wcs, offset


def images(cube: Path, wcs: WCS, truth: dict) -> tuple[np.ndarray, np.ndarray]:
    """Mean image of a cube, and the noise-free one of its stars: the same voxels, the same mean."""
    with fits.open(cube) as hdus:
        data, header = hdus["DATA"].data, hdus["DATA"].header
    iy, ix = np.indices(data.shape[1:])
    total, expected, count = (np.zeros(data.shape[1:]) for _ in range(3))
    lam = header["CRVAL3"] + (np.arange(len(data)) + 1 - header["CRPIX3"]) * header["CD3_3"]
    spectra = [np.interp(lam, wavelength_grid(), star_of(star).spectrum()) for star in truth["stars"]]
    places = wcs.wcs_world2pix([[star["ra"], star["dec"]] for star in truth["stars"]], 0)
    square = [SPAXEL**2 * ((ix - x) ** 2 + (iy - y) ** 2) for x, y in places]
    for k, plane in enumerate(data):
        good = np.isfinite(plane)
        total[good] += plane[good]
        count += good
        width = truth["seeing"] * (lam[k] / 7000.0) ** -0.2
        radius2 = width**2 / (4 * (2 ** (1 / MOFFAT) - 1))
        peak = SPAXEL**2 * (MOFFAT - 1) / (np.pi * radius2)
        for spectrum, r2 in zip(spectra, square, strict=True):
            expected[good] += spectrum[k] * peak * (1 + r2[good] / radius2) ** -MOFFAT
    count[count == 0] = np.nan
    return total / count, expected / count


def measure_stars(image: np.ndarray, wcs: WCS, stars: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the truth (arcsec) and flux of each star in an image on the grid of a cube."""
    iy, ix = np.indices(image.shape)
    distances, fluxes = [], []
    for star in stars:
        x, y = wcs.wcs_world2pix([[star["ra"], star["dec"]]], 0)[0]
        r = np.hypot(ix - x, iy - y) * SPAXEL
        ring = (r > RING[0]) & (r < RING[1]) & np.isfinite(image)
        disc = (r < RADIUS) & np.isfinite(image)
        if disc.sum() < 0.95 * np.pi * (RADIUS / SPAXEL) ** 2 or not ring.any():
            continue  # at the edge of the field
        light = np.where(disc, image - np.median(image[ring]), 0.0)
        core = np.where(r < 0.8, np.nan_to_num(light), 0.0)
        cx, cy = (float((core * i).sum() / core.sum()) for i in (ix, iy))
        distances.append(SPAXEL * np.hypot(cx - x, cy - y))
        fluxes.append(float(np.nansum(light)))
    return np.array(distances), np.array(fluxes)


def main() -> None:
    """Simulate, reduce, compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("outdir", type=Path)
    parser.add_argument("--c", action="store_true", help="run the C recipes, too")
    parser.add_argument("--exposures", type=int, default=2)
    options = parser.parse_args()
    shift = 0.12
    science = simulate_raw_science(
        options.outdir / "raw", SETUP, exposures=options.exposures, n_stars=5, brightness=4.0, shift=shift
    )
    for name, runner in (("ours", run_ours), ("c", run_c))[: 1 + options.c]:
        check = reduce(science, options.outdir / name, runner, SETUP.ifus, shift)
        print(  # noqa: T201
            f"{name}: {check.positions.size} stars, positions within {check.positions.max():.3f} arcsec, "
            f"fluxes within {100 * np.abs(check.fluxes - 1).max():.1f} % of each other and "
            f"{100 * (check.level - 1):+.1f} % off as a whole, wavelengths {check.shift:+.4f} A"
            + (f"; the whole field is {check.offset:.1f} arcsec off" if check.offset else "")
        )


if __name__ == "__main__":
    main()
