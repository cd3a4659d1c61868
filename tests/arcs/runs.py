# SPDX-License-Identifier: BSD-3-Clause
"""Small arcs, runs of the recipes on them, and the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.arcs import arc_setup, simulate_arcs
from muse_core.simulate.raw_instrument import RawSetup

IFU = 2
RANGE = (4750.0, 9350.0)
NAMES = {
    "BADPIX_TABLE": "badpix", "MASTER_DARK": "master_dark", "MASTER_FLAT": "master_flat",
    "WAVECAL_TABLE": "wavecal",
}  # fmt: skip


@dataclass(frozen=True)
class ArcSet:
    """Files with their tags, and what they were made with."""

    folder: Path
    setup: RawSetup
    frames: list[tuple[Path, str]]

    def also(self, *tags: str) -> list[tuple[Path, str]]:
        """The frames with optional ones."""
        return [*self.frames, *((self.folder / f"{NAMES[tag]}.fits", tag) for tag in tags)]


def make_set(folder: Path, *, exposures=1, lamps=("HgCd", "Ne", "Xe"), scale=1.0, **changes) -> ArcSet:
    """Slices of six columns on a detector of full height."""
    setup = arc_setup(**{"nx": 144, "ifus": (IFU,), "cosmics": 0, **changes})
    sof = simulate_arcs(folder, setup, exposures=exposures, lamps=lamps, scale=scale)
    lines = (line.split() for line in sof.read_text().splitlines())
    return ArcSet(folder, setup, [(folder / name, tag) for name, tag in lines])


def run(recipe: str, frames, folder: Path, **settings) -> dict[str, Path]:
    """Products by file name."""
    threads = settings.pop("threads", 2)
    folder.mkdir(exist_ok=True)
    products = run_recipe(recipe, frames, settings, workdir=folder, threads=threads)
    return {product.path.name: product.path for product in products}


def polynomials(path: Path, extension: int | str = 1) -> np.ndarray:
    """Coefficients of a WAVECAL_TABLE: float64[48, i, j]."""
    table = fits.getdata(path, extension)
    names = [name for name in table.names if name.startswith("wlc")]
    out = np.empty((48, max(int(n[3]) for n in names) + 1, max(int(n[4]) for n in names) + 1))
    for name in names:
        out[:, int(name[3]), int(name[4])] = table[name]
    return out


def errors_of_slices(setup: RawSetup, table: np.ndarray, ifu: int = IFU) -> tuple[np.ndarray, np.ndarray]:
    """Rms and largest deviation from the true wavelengths (Angstrom) of each slice, in the mode's range."""
    trace, wave = instrument.trace_polynomials(setup, ifu), instrument.wave_polynomials(setup, ifu)
    ny, nx = setup.shape
    y = np.linspace(1, ny, 257)
    rms, worst = np.full(48, np.nan), np.full(48, np.nan)
    for s in range(48):
        left, right = (np.polynomial.polynomial.polyval(y, trace[s, k]) for k in (1, 2))
        x = np.concatenate([left + part * (right - left) for part in (0.0, 0.25, 0.5, 0.75, 1.0)])
        rows = np.tile(y, 5)
        true = np.polynomial.polynomial.polyval2d(x, rows, wave[s])
        seen = (true >= RANGE[0]) & (true <= RANGE[1]) & (x >= 1) & (x <= nx)
        off = (np.polynomial.polynomial.polyval2d(x, rows, table[s]) - true)[seen]
        rms[s], worst[s] = np.sqrt(np.mean(off**2)), np.abs(off).max()
    return rms, worst


def changed_copy(path: Path, folder: Path, change) -> Path:
    """A copy of a file in another folder, changed by ``change(hdus)``."""
    folder.mkdir(exist_ok=True)
    target = folder / path.name
    with fits.open(path) as hdus:
        change(hdus)
        hdus.writeto(target)
    return target


def replaced(frames, old: Path, new: Path):
    """The frames with one file replaced."""
    return [(new if path == old else path, tag) for path, tag in frames]


def one(frames, tag: str, part: str = "") -> Path:
    """The first file of a tag whose name has a part."""
    return next(path for path, own in frames if own == tag and part in path.name)


def hot_pixel(arcs: ArcSet, solved: dict[str, Path], folder: Path):
    """A known hot pixel in a line of slice 7: frames, column, wavelength, place without it."""
    lam = 6929.467
    rows = fits.getdata(solved[f"WAVECAL_RESIDUALS-{IFU:02d}.fits"])
    near = rows[(np.abs(rows["lambda"] - lam) < 0.1) & (rows["slice"] == 7) & (rows["iteration"] == 1)]
    x, y = int(near["x"][2]), int(near["y"][2]) + 1
    setup = arcs.setup
    raw_x = x + setup.prescan + (2 * setup.overscan if x > setup.nx else 0)
    raw_y = y + setup.prescan + (2 * setup.overscan if y > setup.ny else 0)

    def heat(hdus):
        hdus[1].data[raw_y - 1, raw_x - 1] = 9000

    lamp = one(arcs.frames, "ARC", "Ne")
    hot = changed_copy(lamp, folder, heat)
    columns = [
        fits.Column("xpos", "J", unit="pix", array=[raw_x]),
        fits.Column("ypos", "J", unit="pix", array=[raw_y]),
        fits.Column("status", "J", array=[256]),
        fits.Column("value", "E", unit="count", array=[0.0]),
    ]
    primary = fits.PrimaryHDU()
    primary.header["HIERARCH ESO PRO CATG"] = "BADPIX_TABLE"
    table = fits.BinTableHDU.from_columns(columns, name=f"CHAN{IFU:02d}")
    fits.HDUList([primary, table]).writeto(folder / "bad.fits")
    frames = [*replaced(arcs.frames, lamp, hot), (folder / "bad.fits", "BADPIX_TABLE")]
    return frames, x, lam, float(near["y"][2])


def place_of(path: Path, x: int, lam: float) -> float:
    """Row of a line in a column of slice 7, in WAVECAL_RESIDUALS."""
    rows = fits.getdata(path)
    first = rows[(rows["slice"] == 7) & (rows["iteration"] == 1) & (rows["x"] == x)]
    return float(first["y"][np.argmin(np.abs(first["lambda"] - lam))])
