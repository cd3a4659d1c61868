# SPDX-License-Identifier: BSD-3-Clause
"""From simulated raw frames to the combined cube, with the truth beside it.

    python examples/raw_to_cube.py OUT          our recipes
    python examples/raw_to_cube.py OUT --c      those of the C pipeline (esorex), too

Sky flats -> muse_twilight -> TWILIGHT_CUBE; raw science frames -> muse_scibasic -> pixel tables;
muse_scipost -> a cube and an image of each exposure; muse_exp_align -> offsets; muse_scipost -> one cube.
The position and flux of each star and the wavelengths of the sky lines are compared with what went in.
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
from muse_core.simulate.raw_science import RawScience, simulate_raw_science

Frames = list[tuple[Path, str]]
Runner = Callable[[str, Frames, Mapping[str, object], Path], dict[str, list[Path]]]
RADIUS = 1.6  # arcsec around a star
RING = (1.8, 2.6)  # arcsec of its background
SETUP = RawSetup(nx=384, ny=210, ifus=(1, 2, 3), lambda_min=5480.0, lambda_max=7020.0, cosmics=20)
SCIPOST = {"skymethod": "simple", "dlambda": 4.0, "rvcorr": "none", "lambdamin": 5520.0, "lambdamax": 6980.0}


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
    folder.mkdir(parents=True, exist_ok=True)
    sof = folder / f"{recipe}.sof"
    sof.write_text("".join(f"{path.resolve()} {tag}\n" for path, tag in frames))
    before = set(folder.glob("*.fits"))
    words = [
        f"--{name}={str(value).upper() if isinstance(value, bool) else value}"
        for name, value in options.items()
    ]
    command = ["esorex", f"--output-dir={folder}", f"--log-dir={folder}", recipe, *words, str(sof)]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
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
        Flux of each star over what it is, relative to the median of all.
    shift : float
        Mean error of the wavelengths after muse_scibasic (Angstrom), from the keywords.
    cube : Path
    """

    positions: np.ndarray
    fluxes: np.ndarray
    shift: float
    cube: Path


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
    flat = {"lambdamin": 5520.0, "lambdamax": 6980.0} | low_order
    twilight = runner("muse_twilight", science.skyflats, flat, folder / "twilight")
    raw = [*science.raw, (twilight["TWILIGHT_CUBE"][0], "TWILIGHT_CUBE")]
    tables: list[Path] = []
    for ifu in ifus:  # the C recipe ends at the first IFU that is not in the data
        made = runner("muse_scibasic", raw, {"nifu": ifu} | low_order, folder / "scibasic")
        tables += made["PIXTABLE_OBJECT"]
    shifts = [fits.getval(path, "ESO QC SCIBASIC LAMBDA SHIFT") for path in tables]

    keep = ("EXTINCT_TABLE", "STD_RESPONSE", "ASTROMETRY_WCS", "FILTER_LIST")
    calibrations = [frame for frame in science.calibrations if frame[1] in keep]
    images: list[Path] = []
    for number in sorted({path.stem[-7:-3] for path in tables}):
        own = [(path, "PIXTABLE_OBJECT") for path in tables if path.stem[-7:-3] == number]
        post = runner("muse_scipost", [*own, *calibrations], SCIPOST, folder / f"scipost_{number}")
        images.append(post["IMAGE_FOV"][0])
    together = [(path, "PIXTABLE_OBJECT") for path in tables] + calibrations
    if len(images) > 1:
        options = {"srcmin": 2, "threshold": 8.0}
        aligned = runner("muse_exp_align", [(p, "IMAGE_FOV") for p in images], options, folder / "align")
        together.append((aligned["OFFSET_LIST"][0], "OFFSET_LIST"))
    final = runner("muse_scipost", together, SCIPOST, folder / "final")
    distances, fluxes = measure_stars(final["DATACUBE_FINAL"][0], science.truth["stars"])
    return Check(distances, fluxes, float(np.mean(shifts)) + shift, final["DATACUBE_FINAL"][0])


def measure_stars(cube: Path, stars: list[dict]) -> tuple[np.ndarray, np.ndarray]:
    """Distance from the truth (arcsec) and relative flux of each star in the mean image of a cube."""
    with fits.open(cube) as hdus:
        data, header = hdus["DATA"].data.astype(float), hdus["DATA"].header
    with np.errstate(invalid="ignore"):
        image = np.nanmean(data, axis=0) if np.isfinite(data).any() else data[0]
    wcs = WCS(header).celestial
    iy, ix = np.indices(image.shape)
    distances, fluxes = [], []
    for star in stars:
        x, y = wcs.wcs_world2pix([[star["ra"], star["dec"]]], 0)[0]
        r = np.hypot(ix - x, iy - y) * 0.2
        ring = (r > RING[0]) & (r < RING[1]) & np.isfinite(image)
        disc = (r < RADIUS) & np.isfinite(image)
        if disc.sum() < 0.95 * np.pi * (RADIUS / 0.2) ** 2 or not ring.any():
            continue  # at the edge of the field
        light = np.where(disc, image - np.median(image[ring]), 0.0)
        core = np.where(r < 0.8, np.nan_to_num(light), 0.0)
        cx, cy = (float((core * i).sum() / core.sum()) for i in (ix, iy))
        distances.append(0.2 * np.hypot(cx - x, cy - y))
        fluxes.append(np.nansum(light) / star["flux"])
    ratio = np.array(fluxes)
    return np.array(distances), ratio / np.median(ratio)


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
            f"fluxes within {100 * np.abs(check.fluxes - 1).max():.1f} %, wavelengths {check.shift:+.4f} A"
        )


if __name__ == "__main__":
    main()
