# SPDX-License-Identifier: BSD-3-Clause
"""Arcs through both: how products of muse_wavecal are compared (its fits end where C's do, but for rounding).

The C recipe stops its fits before the minimum, so numbers are compared by quantity: the same lines detected,
the same places fitted, and wavelengths as near to the truth.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.arcs.runs import IFU, ArcSet, errors_of_slices, polynomials, run

TABLE, RESIDUALS = f"WAVECAL_TABLE-{IFU:02d}.fits", f"WAVECAL_RESIDUALS-{IFU:02d}.fits"
QC = "ESO QC WAVECAL SLICE"
NEAR_TRUTH = 0.005  # Angstrom: a slice within this is good enough, whatever C has
SHARES = {"LINES FWHM MEAN": 1e-3, "RESOL": 4e-3, "FIT RMS": 0.03}
STEPS = {"LINES NDET": 1, "LINES NID": 3, "FIT NLINES": 1, "WLPOS": 0, "WLEN": 0.01}
"""Largest differences of QC keywords: relative, and absolute.

C leaves single fits out of the widths now and then (one of 150 changes RESOL by 0.2 %), and names one or two
blends in each slice that are not taken for lines here.
"""
SLICES_WITH_ANOTHER_LINE = 4  # whether a blend or a hit ends as a line hangs on where C stops its fit


def both(c_pipeline, recipe: str, frames, folder: Path, *, check=True, **settings) -> tuple[Path, Path]:
    """Folders with the products of C, and of ours in compatible mode; without ``check`` C may fail."""
    folder.mkdir(exist_ok=True)
    sof = folder / "frames.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    options = [f"--{name}={_text(value)}" for name, value in settings.items()]
    c_pipeline.run(recipe, sof, folder / "c", *options, check=check)
    run(recipe, frames, folder / "ours", compat=True, **settings)
    return folder / "c", folder / "ours"


def _text(value) -> str:
    return str(value).upper() if isinstance(value, bool) else str(value)


def points(path: Path) -> dict[tuple[int, int, float], float]:
    """Row of each fitted place of the first fits, by slice, column and wavelength."""
    rows = fits.getdata(path)
    rows = rows[rows["iteration"] == 1]
    names = zip(rows["slice"].tolist(), rows["x"].tolist(), rows["lambda"].tolist(), strict=True)
    return {(s, x, round(lam, 2)): y for (s, x, lam), y in zip(names, rows["y"].tolist(), strict=True)}


def assert_same_places(c: Path, ours: Path, lost: float = 0.002) -> None:
    """The same lines in the same columns, at the same rows; a share of them may be ``lost``."""
    theirs, mine = points(c / RESIDUALS), points(ours / RESIDUALS)
    shared = theirs.keys() & mine.keys()
    assert len(shared) >= (1 - lost) * max(len(theirs), len(mine))
    off = np.array([abs(theirs[key] - mine[key]) for key in shared])
    assert np.median(off) < 1e-4
    # C ends its fits early: rarely a place differs by some thousandths of a pixel
    assert np.percentile(off, 99) < 4e-3


def assert_same_keywords(c: Path, ours: Path) -> None:
    """The same keywords in the same order, with the same numbers as far as C's are reproducible."""
    theirs, mine = fits.getheader(c / TABLE), fits.getheader(ours / TABLE)
    names = [key for key in theirs if key.startswith("ESO QC WAVECAL") and " LAMP" not in key]
    assert names == [key for key in mine if key.startswith("ESO QC WAVECAL") and " LAMP" not in key]
    for key in names:
        kind = key.removeprefix(QC).split(" ", 1)[-1]
        if kind in SHARES:
            assert abs(mine[key] / theirs[key] - 1) <= SHARES[kind], key
        elif kind in STEPS:
            assert abs(mine[key] - theirs[key]) <= STEPS[kind], key
    numbers = [f"{QC}{s} LINES NDET" for s in range(1, 49)]
    assert sum(theirs.get(key) != mine.get(key) for key in numbers) <= SLICES_WITH_ANOTHER_LINE
    for key in theirs:
        if key.startswith("ESO DRS MUSE OVSC") and "POLY" not in key:
            assert abs(mine[key] - theirs[key]) < 1e-3, key
    drop = ("PRO REC1 DRS", "PRO REC1 PIPE", "PRO DID", "ESO QC", "ESO DRS", "DATE", "CHECKSUM", "DATASUM")
    for key in theirs:
        if not key.startswith(("COMMENT", "BITPIX", "DATAMD5")) and not any(part in key for part in drop):
            assert mine.get(key) == theirs[key], key


def assert_as_near_to_truth(arcs: ArcSet, c: Path, ours: Path) -> None:
    """Wavelengths in the mean as near to the truth as those of C, and no slice much worse."""
    theirs, mine = (errors_of_slices(arcs.setup, polynomials(folder / TABLE))[0] for folder in (c, ours))
    ratio = mine / theirs
    assert np.nanmedian(ratio) <= 1.02
    assert ((ratio <= 1.3) | (mine <= NEAR_TRUTH) | np.isnan(ratio)).all()
    np.testing.assert_array_equal(np.isnan(theirs), np.isnan(mine))


def draw(rng: np.random.Generator) -> dict[str, object]:
    """Options of a random run."""
    options: dict[str, object] = {"nifu": IFU, "residuals": True}
    choices: dict[str, list[object]] = {
        "sigma": [1.0, 1.5, 3.0], "xorder": [1, 2], "yorder": [4, 5, 6, 7],
        "fitweighting": ["uniform", "cerr", "scatter", "cerrscatter"], "fitsigma": [-1.0, 3.0, 5.0],
        "overscan": ["vpoly", "none", "offset"], "ovscignore": [3, 5], "ovscreject": ["dcr", "none", "fit"],
        "tolerance": [0.1, 0.05],
    }  # fmt: skip
    for name, values in choices.items():
        if rng.random() < 0.5:
            options[name] = values[rng.integers(len(values))]
    return options
