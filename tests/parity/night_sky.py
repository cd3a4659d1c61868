# SPDX-License-Identifier: BSD-3-Clause
"""Random runs of muse_create_sky beside the C recipe.

``python -m tests.parity.night_sky RUNS [SEED]`` makes more of them, and prints what differs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.data.slices import rows_by_slice
from muse_core.framework import run_recipe
from muse_core.postproc.lsf.images import LsfImage, average_lsf
from muse_core.postproc.lsf.load import load_lsf
from muse_core.postproc.sky.line_fit import FAINT_IN_FIT, line_spectrum
from muse_core.postproc.sky.line_list import SkyLines, load_sky_lines
from muse_core.simulate.scipost import Simulation, simulate_scipost
from tests.parity.compare import assert_same_product, option_text

RAW = "PIXTABLE_SKY"
NAMES = ("SKY_CONTINUUM.fits", "SKY_IMAGE.fits", "SKY_LINES.fits", "SKY_MASK.fits", "SKY_SPECTRUM.fits")
Frames = list[tuple[Path, str]]
Products = dict[str, tuple[Path, Path]]


def as_sky(simulation: Simulation, *, without: tuple[str, ...] = ()) -> Frames:
    """Frames of an observation for muse_create_sky."""
    wanted = {
        "EXTINCT_TABLE", "STD_RESPONSE", "STD_TELLURIC", "SKY_LINES", "SKY_CONTINUUM", "LSF_PROFILE",
        "SKY_MASK",
    } - set(without)  # fmt: skip
    frames = [(path, RAW) for path in simulation.paths("PIXTABLE_OBJECT")]
    return frames + [(path, tag) for path, tag in simulation.frames() if tag in wanted]


def run_both(c_pipeline: Any, frames: Frames, options: Mapping[str, Any], folder: Path) -> Products:
    """Run both recipes, ours in compatible mode; return the pairs of products by name."""
    folder.mkdir(parents=True, exist_ok=True)
    sof = folder / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    c_pipeline.run("muse_create_sky", sof, folder / "c", *option_text(dict(options)))
    (folder / "ours").mkdir()
    products = run_recipe("muse_create_sky", frames, {**options, "compat": True}, workdir=folder / "ours")
    ours = {product.path.name: product.path for product in products}
    peer = {path.name: path for path in (folder / "c").glob("*.fits")}
    assert set(ours) == set(peer) == set(NAMES)
    return {name: (peer[name], ours[name]) for name in NAMES}


def _table(path: Path, *names: str) -> list[np.ndarray]:
    with fits.open(path) as hdus:
        return [np.array(hdus[1].data[name], float) for name in names]


def _rows_on_sky(frames: Frames, mask: Path) -> np.ndarray:
    """Rows of each slice on the mask: near enough for a judgement of the fits."""
    rows = np.zeros(1152, np.int64)
    for path, tag in frames:
        if tag == RAW:
            with fits.open(path) as hdus:
                good = hdus["dq"].data.ravel() == 0
                origin = hdus["origin"].data.ravel()[good]
                with fits.open(mask) as image:
                    header, sky = image[0].header, image[0].data
                x, y = (
                    np.floor(hdus[f"{a}pos"].data.ravel()[good] - header[f"CRVAL{k}"] + 0.5).astype(int)
                    for k, a in ((1, "x"), (2, "y"))
                )
            inside = (x >= 0) & (y >= 0) & (x < sky.shape[1]) & (y < sky.shape[0])
            on = np.ones(x.size, bool)
            on[inside] = sky[y[inside], x[inside]] != 0
            rows += rows_by_slice(np.bincount(origin[on] & 0x7FF, minlength=2048))
    return rows


def _errors(lines: SkyLines, lam: np.ndarray, stat: np.ndarray) -> np.ndarray:
    """Standard error of each flux when its group is scaled alone, for a Gaussian profile of 2.5 Angstrom."""
    out = np.empty(len(lines))
    for group in np.unique(lines.group):
        mine = lines.group == group
        x = (lam[:, np.newaxis] - lines.lam[mine]) / 1.06
        model = (np.exp(-0.5 * x**2) / (1.06 * np.sqrt(2 * np.pi)) * lines.flux[mine]).sum(axis=1)
        weight = (np.diff(model) ** 2 / (stat[1:] + stat[:-1])).sum()
        out[mine] = lines.flux[mine] / np.sqrt(max(weight, 1e-300))
    return out


def compare(products: Products, frames: Frames, options: Mapping[str, Any]) -> None:
    """Compare all products; of the line fit chi-square counts (it ends in one of many minima)."""
    for name in ("SKY_IMAGE.fits", "SKY_MASK.fits", "SKY_SPECTRUM.fits"):
        assert_same_product(*products[name])
    peer, ours = (load_sky_lines(path) for path in products["SKY_LINES.fits"])
    lam, data, stat = _table(products["SKY_SPECTRUM.fits"][0], "lambda", "data", "stat")
    profiles = load_lsf([path for path, tag in frames if tag == "LSF_PROFILE"])
    a, b = peer.take(np.lexsort((peer.lam, peer.name))), ours.take(np.lexsort((ours.lam, ours.name)))
    assert (a.name, a.group.tolist()) == (b.name, b.group.tolist())
    bright = a.flux > 1e-3 * a.flux.max()
    same_minimum = True
    if isinstance(profiles, LsfImage):
        weights = _rows_on_sky(frames, products["SKY_MASK.fits"][0])
        lsf = average_lsf(profiles, weights, float(options.get("sampling", 0.3125)))

        def chi2(lines: Any) -> float:
            model = line_spectrum(lam, lines.lam, lines.flux, lsf, FAINT_IN_FIT)
            return float(((np.diff(model) - np.diff(data)) ** 2 / (stat[1:] + stat[:-1])).sum())

        assert chi2(ours) <= chi2(peer) * (1 + 1e-4)  # the profile is only about that of the fit
        same_minimum = chi2(ours) > chi2(peer) * (1 - 1e-4)
    if same_minimum:
        # 2e-3 of the flux, or a small part of its error where a group hardly shows
        limit = np.maximum(2e-3 * a.flux, 0.05 * _errors(a, lam, stat))
        assert (np.abs(b.flux - a.flux)[bright] <= limit[bright]).all(), f"{a.flux} {b.flux}"
        np.testing.assert_allclose(b.lam[bright], a.lam[bright], atol=2e-3)
    difference = np.abs(b.flux[bright] / a.flux[bright] - 1).max() + np.abs(b.lam - a.lam)[bright].max()
    (lam, flux), (lam2, flux2) = (_table(path, "lambda", "flux") for path in products["SKY_CONTINUUM.fits"])
    np.testing.assert_array_equal(lam, lam2)
    assert np.abs(flux - flux2).max() <= (1e-5 + 2 * difference) * data.max()
    assert_same_product(*products["SKY_CONTINUUM.fits"], rtol=1e30, ignore=("ESO QC SKY CONT",))
    if difference < 1e-6:
        assert_same_product(*products["SKY_LINES.fits"], rtol=1e-4, ignore=("ESO QC SKY LINE",))


FIELD: dict[str, Any] = {
    "n_ifu": 2, "slices": 8, "columns": 24, "lambda_range": (6270.0, 6330.0), "line_error": 0.1,
}  # fmt: skip
FIELDS: dict[str, dict[str, Any]] = {
    "plain": {**FIELD, "seed": 41, "n_stars": 2, "n_galaxies": 0},
    "table": {**FIELD, "seed": 42, "lsf": "table", "n_stars": 0, "n_galaxies": 0},
    "flat": {**FIELD, "seed": 43, "flat_field": True, "posang": 20.0, "sky_mask": "pixel"},
    "celestial": {**FIELD, "seed": 44, "sky_mask": "celestial", "oh_table": True},
}


def make_fields(folder: Path) -> dict[str, Simulation]:
    """Simulate the observations that random runs draw from."""
    return {name: simulate_scipost(folder / name, **options) for name, options in FIELDS.items()}


def draw(fields: Mapping[str, Simulation], rng: np.random.Generator) -> tuple[Frames, dict[str, Any]]:
    """Draw a run: an observation, which frames, which options."""
    field = fields[str(rng.choice(list(fields)))]
    without = [
        tag
        for tag, often in (
            ("EXTINCT_TABLE", 0.2), ("STD_TELLURIC", 0.5), ("SKY_CONTINUUM", 0.7), ("SKY_MASK", 0.4),
        )
        if rng.random() < often
    ]  # fmt: skip
    frames = as_sky(field, without=tuple(without))
    options: dict[str, Any] = {}
    if rng.random() < 0.6:
        options["fraction"] = round(float(rng.uniform(0.3, 0.9)), 3)
        options["ignore"] = round(float(rng.uniform(0.0, 0.2)), 3)
    if rng.random() < 0.3:
        options["sampling"] = float(rng.choice([0.25, 0.5, 0.625]))
        options["csampling"] = float(rng.choice([0.3125, 0.5, 1.0]))
    if rng.random() < 0.3:
        options["crsigma"] = str(rng.choice(["15.,3.", "10.,10.", "0.,5."]))
    if rng.random() < 0.3:
        options["lambdamin"] = round(float(rng.uniform(6270.0, 6282.0)), 2)
    if rng.random() < 0.3:
        options["lambdamax"] = round(float(rng.uniform(6318.0, 6330.0)), 2)
    if rng.random() < 0.4:
        options["lambdaref"] = float(rng.choice([-1.0, 5577.0, 6300.0]))
    return frames, options


def main() -> None:
    """Make random runs and print what differs."""
    from tests.parity.conftest import CPipeline

    runs, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    bad = 0
    with tempfile.TemporaryDirectory() as place:
        fields = make_fields(Path(place))
        for number in range(runs):
            frames, options = draw(fields, np.random.default_rng([seed, number]))
            try:
                compare(run_both(CPipeline(), frames, options, Path(place) / f"r{number}"), frames, options)
            except Exception as error:  # noqa: BLE001
                bad += 1
                tags = [f"{path.parent.name}/{path.name}" for path, _ in frames]
                print(f"{number}: {options} {tags}\n    {str(error)[:1500]}")
    print(f"{runs} pairs, {bad} differ")


if __name__ == "__main__":
    main()
