# SPDX-License-Identifier: BSD-3-Clause
"""Random runs of muse_astrometry beside the C recipe.

``python -m tests.parity.star_catalogues RUNS [SEED]`` makes more of them, and prints what differs.

Cube and detection image must be equal; so must the solution made of the stars that C has measured. Positions
themselves may differ by a twentieth of a pixel: C ends its fits early.
"""

from __future__ import annotations

import json
import sys
import tempfile
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.astrometry.solution import Solution, fit_solution
from muse_core.framework import run_recipe
from muse_core.simulate.scipost import Simulation
from muse_core.simulate.star_fields import StarField, simulate_astrometric_field
from tests.parity.compare import assert_same_product, option_text

Frames = list[tuple[Path, str]]
Products = dict[str, tuple[Path, Path]]
ALONE = 18.0
"""Pixels to the next star beyond which the window of a fit holds nothing else."""
MEASURED = ("QC ASTRO FWHM MAD", "QC ASTRO (SCALE|ANGLE|MEDRES|NSTARS)", "^C(RVAL|SYER|D)[12]", "S$")


def run_both(c_pipeline: Any, frames: Frames, options: Mapping[str, Any], folder: Path) -> Products:
    """Run both recipes, ours in compatible mode; return the pairs of products by name."""
    folder.mkdir(parents=True, exist_ok=True)
    sof = folder / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    c_pipeline.run("muse_astrometry", sof, folder / "c", *option_text(dict(options)))
    (folder / "ours").mkdir()
    products = run_recipe("muse_astrometry", frames, {**options, "compat": True}, workdir=folder / "ours")
    ours = {product.path.name: product.path for product in products}
    peer = {path.name: path for path in (folder / "c").glob("*.fits")}
    assert set(ours) == set(peer), f"{sorted(ours)}, expected {sorted(peer)}"
    return {name: (peer[name], ours[name]) for name in sorted(peer)}


def sources(path: Path) -> dict[str, np.ndarray]:
    """Columns of the stars of a solution."""
    rows = fits.getdata(path, "ASTROMETRY_SOURCES")
    return {name: np.array(rows[name], float) for name in rows.names}


def solution_of(path: Path, options: Mapping[str, Any]) -> Solution:
    """Fit a solution to the stars in an ASTROMETRY_WCS."""
    header, stars = fits.getheader(path), sources(path)
    centre = tuple(float(v) for v in str(options.get("rotcenter", "-0.01,-1.20")).split(","))
    return fit_solution(
        stars["XPOS"], stars["YPOS"], stars["RA"], stars["DEC"], (header["RA"], header["DEC"]), centre,
        options.get("niter", 2), options.get("rejsigma", 3.0),
    )  # fmt: skip


def compare(products: Products, options: Mapping[str, Any]) -> None:
    """Compare all products of all exposures."""
    for name, (peer, ours) in products.items():
        if name.startswith("DATACUBE"):
            assert_same_product(peer, ours, ignore=MEASURED, rtol=2e-5)
            continue
        assert_same_header(peer, ours)
        a, b = sources(peer), sources(ours)
        header, again = fits.getheader(peer), solution_of(peer, options)
        if options.get("niter", 2) <= 2:
            cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
            np.testing.assert_allclose(again.cd, cd, rtol=0, atol=1e-9 * np.abs(cd).max())
            np.testing.assert_allclose(again.crval, [header["CRVAL1"], header["CRVAL2"]], rtol=0, atol=1e-9)
            spread = [header[f"ESO QC ASTRO MEDRES {axis}"] for axis in "XY"]
            np.testing.assert_allclose(again.spread, spread, rtol=1e-5)
            for values, key in ((again.scales, "SCALE"), (again.angles, "ANGLE")):
                expected = [header[f"ESO QC ASTRO {key} {axis}"] for axis in "XY"]
                np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6)
        assert abs(len(a["RA"]) - len(b["RA"])) <= 1, f"{len(b['RA'])} stars, expected {len(a['RA'])}"
        for n in range(len(a["RA"])):
            k = int(np.argmin(np.hypot(b["RA"] - a["RA"][n], b["DEC"] - a["DEC"][n])))
            distance = np.sort(np.hypot(a["XPOS"] - a["XPOS"][n], a["YPOS"] - a["YPOS"][n]))[1]
            if abs(b["RA"][k] - a["RA"][n]) > 1e-7 or distance < ALONE:
                continue
            off = np.hypot(b["XPOS"][k] - a["XPOS"][n], b["YPOS"][k] - a["YPOS"][n])
            least = 0.4 if options.get("centroid") == "box" else 0.12
            limit = max(least, 8.0 * np.hypot(a["XERR"][n], a["YERR"][n]))
            assert off <= limit, f"star {n + 1} is off by {off:.3f} pixel, allowed are {limit:.3f}"


def assert_same_header(peer: Path, ours: Path) -> None:
    """Compare keywords that are not measured, and the layout of the table."""
    with fits.open(peer) as a, fits.open(ours) as b:
        assert [hdu.name for hdu in a] == [hdu.name for hdu in b]
        missing = [key for key in a[0].header if key not in b[0].header and key != "COMMENT"]
        assert missing == [], f"{ours.name} lacks {missing}"
        for key in ("CRPIX1", "CRPIX2", "CTYPE1", "ESO DRS MUSE WCS RADIUS", "ESO DRS MUSE WCS DETSIGMA"):
            assert b[0].header[key] == a[0].header[key], key
        assert a[1].columns.names == b[1].columns.names
        assert [column.unit for column in a[1].columns] == [column.unit for column in b[1].columns]


FIELDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "many": {"n_stars": 24, "n_more": 30},
    "turned": {"plan": {"posang": 2.0}, "angles_deg": (0.1, 0.2), "n_stars": 11},
    "two": {"plan": {"cosmics": 30, "flagged": 0.001}, "exposures": 2, "n_stars": 14},
    "few": {"n_stars": 8, "n_more": 2, "reference": (6.0, -9.0)},
}
SMALL: dict[str, Any] = {
    "nx": 100, "ny": 96, "first": 6825.0, "step": 25.0, "n_lam": 14, "fwhm": 4.0, "sky": 10.0,
    "telluric": False,
}  # fmt: skip


def make_fields(folder: Path, *names: str) -> dict[str, Simulation]:
    """Simulate the exposures that random runs draw from."""
    made = {}
    for k, (name, options) in enumerate(FIELDS.items()):
        if names and name not in names:
            continue
        plan = StarField(**{**SMALL, **options.get("plan", {})})
        rest = {key: value for key, value in options.items() if key != "plan"}
        made[name] = simulate_astrometric_field(folder / name, plan, seed=70 + k, **rest)
    return made


def draw(fields: Mapping[str, Simulation], rng: np.random.Generator) -> tuple[Frames, dict[str, Any]]:
    """Draw a run: a field, which frames, which options."""
    field = fields[str(rng.choice(list(fields)))]
    frames = list(field.frames(without=["STD_RESPONSE"] if rng.random() < 0.7 else []))
    options: dict[str, Any] = {}
    if rng.random() < 0.5:
        options["centroid"] = str(rng.choice(["moffat", "gaussian", "box"]))
    if rng.random() < 0.4:
        options["detsigma"] = round(float(rng.uniform(1.0, 4.0)), 2)
    if rng.random() < 0.3:
        options["radius"] = round(float(rng.uniform(2.0, 6.0)), 1)
    if rng.random() < 0.5:
        options["niter"] = int(rng.choice([1, 2]))
        options["rejsigma"] = round(float(rng.uniform(1.5, 5.0)), 1)
    if rng.random() < 0.3:
        options["rotcenter"] = "0.5,-2.0"
    if rng.random() < 0.4:
        options["lambdaref"] = float(rng.choice([5577.0, 6300.0, 7000.0]))
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
                compare(run_both(CPipeline(), frames, options, Path(place) / f"r{number}"), options)
            except Exception as error:  # noqa: BLE001
                bad += 1
                where = traceback.extract_tb(error.__traceback__)[-1]
                name = frames[0][0].parent.name
                print(f"{number}: {name} {json.dumps(options)} {where.name} {where.lineno}")
                print(f"    {str(error)[:600]}", flush=True)
    print(f"{runs} pairs, {bad} differ")


if __name__ == "__main__":
    main()
