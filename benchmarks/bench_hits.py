# SPDX-License-Identifier: BSD-3-Clause
"""Cosmic-ray finders of muse_scibasic on a simulated frame with hits whose places are known.

``python benchmarks/bench_hits.py FOLDER`` prints, for dcr and L.A.Cosmic, the hits that are found by their
height (10 to 30, 100, 1000 standard deviations of the pixel; on stars and lines those above 30), and the
pixels that are flagged without one: in stars, on sky lines, elsewhere.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.raw import RawSetup
from muse_core.simulate.raw_science import simulate_raw_science

HITS = 900
HEIGHTS = (10.0, 30.0, 100.0, 1000.0)  # in deviations: limits of the classes
SETUP = RawSetup(nx=768, ny=330, ifus=(3,), lambda_min=5530.0, lambda_max=6350.0, cosmics=0)
FINDERS = {
    "dcr": {"cr": "dcr"},
    "dcr, thres=4.5": {"cr": "dcr", "thres": 4.5},
    "lacosmic": {"lacosmic": True},
    "lacosmic, 6, 5": {"lacosmic": True, "lacosmic_sigma": 6.0, "lacosmic_contrast": 5.0},
}
LINES = (5577.339, 5889.95, 5895.92, 6300.304)
BRIGHT = 5.0  # times the median: a star


def image_of(frames: list, folder: Path, **options: object) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, variance and flags of the reduced image."""
    folder.mkdir(parents=True, exist_ok=True)
    made = run_recipe("muse_scibasic", frames, {"skylines": "none", **options}, workdir=folder)
    path = next(product.path for product in made if product.tag == "OBJECT_RED")
    with fits.open(path) as hdus:
        return tuple(np.array(hdus[name].data) for name in ("DATA", "STAT", "DQ"))


def main() -> None:
    """Simulate, add hits, look for them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    made = simulate_raw_science(
        folder / "raw", SETUP, n_stars=4, brightness=3.0, skyflats=0, illum=False, calibrations=False
    )
    clean, stat, before = image_of(made.raw, folder / "clean")
    with fits.open(folder / "clean" / "PIXTABLE_OBJECT_0001-03.fits") as table:
        origin = np.array(table["origin"].data).ravel()
        offsets = np.array([
            table[0].header[f"ESO DRS MUSE PIXTABLE EXP0 IFU03 SLICE{s:02d} XOFFSET"] for s in range(1, 49)
        ])  # fmt: skip
        x = (origin >> 24) + offsets[(origin & 63) - 1] - 1
        y = ((origin >> 11) & 0x1FFF) - 1
        lam = np.zeros(clean.shape)
        lam[y, x] = np.array(table["lambda"].data).ravel()
    inside = (lam > 0) & (before == 0)
    line = np.min([np.abs(lam - centre) for centre in LINES], axis=0) < 3.0
    level = np.median(clean[inside & ~line])
    star = inside & ~line & (clean > BRIGHT * level)

    rng = np.random.default_rng(3)
    places = np.flatnonzero(inside)[rng.choice(inside.sum(), HITS, replace=False)]
    iy, ix = np.unravel_index(places, clean.shape)
    height = np.exp(rng.uniform(np.log(HEIGHTS[0]), np.log(HEIGHTS[-1]), HITS))
    path = next(path for path, tag in made.raw if tag == "OBJECT")
    with fits.open(path, mode="update") as hdus:
        raw = hdus["CHAN03"].data
        right, top = ix >= SETUP.nx, iy >= SETUP.ny
        gap = 2 * SETUP.overscan
        ry = iy + SETUP.prescan + np.where(top, gap, 0)
        rx = ix + SETUP.prescan + np.where(right, gap, 0)
        flat = fits.getdata(next(p for p, tag in made.raw if tag == "MASTER_FLAT"), "CHAN03.DATA")
        counts = height * np.sqrt(stat[iy, ix]) * flat[iy, ix] / 1.1
        raw[ry, rx] = np.minimum(raw[ry, rx] + counts, 65000).astype(raw.dtype)
    near = np.zeros(clean.shape, bool)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            near[np.clip(iy + dy, 0, clean.shape[0] - 1), np.clip(ix + dx, 0, clean.shape[1] - 1)] = True
    print(f"{inside.sum()} pixels in slices, {star.sum()} in stars, {(inside & line).sum()} on sky lines")
    for name, options in FINDERS.items():
        dq = image_of(made.raw, folder / "hits", **options)[2]
        flagged = (dq & 0x20) > 0
        found = flagged[iy, ix]
        sky = ~(star | line)[iy, ix]
        classes = [
            f"{100 * found[sky & (height >= low) & (height < high)].mean():.0f} %"
            for low, high in zip(HEIGHTS, HEIGHTS[1:], strict=False)
        ]
        classes.append(f"on stars and lines {100 * found[~sky & (height >= HEIGHTS[1])].mean():.0f} %")
        false = flagged & ~near & inside
        print(
            f"{name:16s} found {', '.join(classes)}; flagged without a hit: stars {(false & star).sum()}, "
            f"lines {(false & line).sum()}, elsewhere {(false & ~star & ~line).sum()}"
        )


if __name__ == "__main__":
    main()
