# SPDX-License-Identifier: BSD-3-Clause
"""Random runs of the single steps (muse_scipost_*) beside the C recipes.

``python -m tests.parity.single_steps RUNS [SEED]`` makes more of them, and prints what differs.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from muse_core.framework import run_recipe
from muse_core.simulate.scipost import Simulation, simulate_scipost
from tests.parity.compare import assert_same_product, option_text

OBJECT, REDUCED = "PIXTABLE_OBJECT", "PIXTABLE_REDUCED"
Frames = list[tuple[Path, str]]
FIELD: dict[str, Any] = {"n_ifu": 2, "slices": 8, "columns": 24, "lambda_range": (6270.0, 6330.0)}
LASERS: dict[str, Any] = {
    "n_ifu": 2, "slices": 8, "columns": 24, "lambda_range": (6465.0, 6503.0), "mode": "WFM-AO-N",
    "raman": 20.0,
}  # fmt: skip
EDGES: dict[str, tuple[float, float]] = {
    "plain": (6270.0, 6330.0),
    "flat": (6270.0, 6330.0),
    "ao": (6465.0, 6503.0),
}


@dataclass
class Pool:
    """Pixel tables in all stages of their reduction, by field: plain, flat (lamp spectrum), ao (lasers)."""

    folder: Path
    fields: dict[str, Simulation]
    tables: dict[str, dict[str, list[Path]]]
    spectra: dict[str, Path]

    def calibrations(self, field: str, *tags: str) -> Frames:
        """Frames of a field with some tags."""
        return [(path, tag) for path, tag in self.fields[field].frames() if tag in tags]


def make_pool(folder: Path) -> Pool:
    """Simulate three fields and reduce them step by step in compatible mode."""
    fields = {
        "plain": simulate_scipost(folder / "plain", seed=31, posang=20.0, n_exposures=1, **FIELD),
        "flat": simulate_scipost(
            folder / "flat", seed=32, n_exposures=2, posang=(20.0, 110.0), exptime=(600.0, 300.0),
            offsets=((0.0, 0.0), (0.9, -0.7)), flux_scales=(1.0, 1.1), flat_field=True, lsf="table",
            seeing=(0.8, 1.1), **FIELD,
        ),
        "ao": simulate_scipost(folder / "ao", seed=33, sky_mask="pixel", **LASERS),
    }  # fmt: skip
    pool = Pool(folder, fields, {}, {})
    for name, field in fields.items():
        frames = field.frames(only=[OBJECT])
        dates = sorted({path.name[16:20] for path, _ in frames})
        made: dict[str, list[Path]] = {
            "ifu": [path for path, _ in frames],
            "merged": [],
            "dar": [],
            "flux": [],
        }
        for date in dates:
            of_date = [frame for frame in frames if frame[0].name[16:20] == date]
            made["merged"] += _step(folder / f"{name}_{date}", "combine_pixtables", of_date)
        made["dar"] = _step(folder / f"{name}_dar", "correct_dar", _as(made["merged"], OBJECT))
        curves = pool.calibrations(name, "EXTINCT_TABLE", "STD_RESPONSE")
        made["flux"] = _step(folder / f"{name}_flux", "calibrate_flux", [*_as(made["dar"], OBJECT), *curves])
        if name == "plain":
            made["ifu_flux"] = _step(folder / "ifu_flux", "calibrate_flux", [*frames, *curves])
        wcs = pool.calibrations(name, "ASTROMETRY_WCS")
        made["sky"] = _step(folder / f"{name}_wcs", "apply_astrometry", [*_as(made["flux"], OBJECT), *wcs])
        made["raw_sky"] = _step(folder / f"{name}_raw", "apply_astrometry", [*_as(made["dar"], OBJECT), *wcs])
        made["all"] = []
        if len(dates) > 1:
            offsets = pool.calibrations(name, "OFFSET_LIST")
            made["all"] = _step(folder / "all", "combine_pixtables", [*_as(made["sky"], OBJECT), *offsets])
        pool.tables[name] = made
        out = folder / f"{name}_spectrum"
        out.mkdir()
        options = {"skymethod": "simple", "save": "skymodel", "compat": True}
        products = run_recipe("muse_scipost", field.frames(without=["RAMAN_LINES"]), options, workdir=out)
        pool.spectra[name] = next(p.path for p in products if p.tag == "SKY_SPECTRUM")
    return pool


def _as(paths: list[Path], tag: str) -> Frames:
    return [(path, tag) for path in paths]


def _step(folder: Path, name: str, frames: Frames) -> list[Path]:
    folder.mkdir(parents=True)
    products = run_recipe(f"muse_scipost_{name}", frames, {"compat": True}, workdir=folder)
    return [product.path for product in products if product.tag.startswith("PIXTABLE")]


Run = tuple[Frames, dict[str, Any]]
Draw = Callable[[Pool, np.random.Generator], Run]


def _cut(rng: np.random.Generator, field: str) -> dict[str, float]:
    """Draw a cut in wavelength, or none."""
    low, high = EDGES[field]
    cut = {}
    if rng.random() < 0.35:
        cut["lambdamin"] = round(float(rng.uniform(low, low + 12.0)), 3)
    if rng.random() < 0.35:
        cut["lambdamax"] = round(float(rng.uniform(high - 8.0, high)), 3)
    return cut


def _some(rng: np.random.Generator, paths: list[Path]) -> list[Path]:
    """Draw one or more of some tables, in any order."""
    number = int(rng.integers(1, len(paths) + 1))
    return [paths[k] for k in rng.permutation(len(paths))[:number]]


def _tables(
    pool: Pool, rng: np.random.Generator, stages: list[str], fields: list[str]
) -> tuple[str, list[Path]]:
    field = str(rng.choice(fields))
    stage = str(rng.choice([stage for stage in stages if pool.tables[field].get(stage)]))
    return field, _some(rng, pool.tables[field][stage])


def correct_dar(pool: Pool, rng: np.random.Generator) -> Run:
    """Tables in pixels, corrected before or not."""
    field, paths = _tables(pool, rng, ["ifu", "merged", "dar", "flux"], ["plain", "flat", "ao"])
    options = {"lambdaref": float(rng.choice([7000.0, 5577.0, 6300.0, -1.0]))}
    return _as(paths, OBJECT), options | _cut(rng, field)


def calibrate_flux(pool: Pool, rng: np.random.Generator) -> Run:
    """Tables in counts; an older response for those with their flat-field spectrum."""
    field, paths = _tables(pool, rng, ["merged", "dar", "raw_sky"], ["plain", "flat", "ao"])
    tags = [tag for tag in ("EXTINCT_TABLE", "STD_TELLURIC") if rng.random() < 0.6]
    of = "plain" if field == "flat" and rng.random() < 0.5 else field
    curves = pool.calibrations(of, "STD_RESPONSE", *tags)
    return [*_as(paths, OBJECT), *curves], _cut(rng, field)


def correct_rv(pool: Pool, rng: np.random.Generator) -> Run:
    """Tables of any stage."""
    field, paths = _tables(pool, rng, ["ifu", "merged", "flux", "sky"], ["plain", "flat", "ao"])
    options = {"rvcorr": str(rng.choice(["bary", "helio", "geo", "none"]))}
    return _as(paths, OBJECT), options | _cut(rng, field)


def apply_astrometry(pool: Pool, rng: np.random.Generator) -> Run:
    """Tables in pixels."""
    field, paths = _tables(pool, rng, ["ifu", "merged", "dar", "flux"], ["plain", "flat", "ao"])
    return [*_as(paths, OBJECT), *pool.calibrations(field, "ASTROMETRY_WCS")], _cut(rng, field)


def subtract_sky(pool: Pool, rng: np.random.Generator) -> Run:
    """Calibrated tables, with profiles of both kinds; sometimes of counts, or without lines or continuum."""
    field, paths = _tables(pool, rng, ["ifu_flux", "flux", "sky", "merged"], ["plain", "flat"])
    tags = [tag for tag in ("SKY_LINES", "SKY_CONTINUUM") if rng.random() < 0.85] or ["SKY_CONTINUUM"]
    options: dict[str, Any] = {}
    if rng.random() < 0.4:
        options["orig"] = "before"
    if rng.random() < 0.4:
        options["flux_sky"] = 1.1e6
    if rng.random() < 0.4:
        options["flux_lamp"] = 2.0e6
    return [*_as(paths, REDUCED), *pool.calibrations(field, "LSF_PROFILE", *tags)], options | _cut(rng, field)


def subtract_sky_simple(pool: Pool, rng: np.random.Generator) -> Run:
    """Tables of any stage and unit."""
    field, paths = _tables(pool, rng, ["ifu", "ifu_flux", "merged", "flux", "sky"], ["plain", "flat", "ao"])
    return [*_as(paths, REDUCED), (pool.spectra[field], "SKY_SPECTRUM")], _cut(rng, field)


def raman(pool: Pool, rng: np.random.Generator) -> Run:
    """Tables with laser light, as they are or merged."""
    stage = str(rng.choice(["ifu", "merged", "flux"]))
    paths = pool.tables["ao"][stage]
    tags = ["RAMAN_LINES", "LSF_PROFILE", *(["SKY_MASK"] if rng.random() < 0.5 else [])]
    options = {
        "lambdaref": float(rng.choice([7000.0, -1.0])),
        "fraction": round(float(rng.uniform(0.5, 0.9)), 3),
        "ignore": round(float(rng.uniform(0.0, 0.1)), 3),
    }
    return [*_as(paths, OBJECT), *pool.calibrations("ao", *tags)], options


def combine_pixtables(pool: Pool, rng: np.random.Generator) -> Run:
    """IFUs of one exposure, or projected exposures."""
    field = str(rng.choice(["plain", "flat", "flat", "ao"]))
    made = pool.tables[field]
    options = {"weight": str(rng.choice(["exptime", "fwhm", "none"]))} | _cut(rng, field)
    if field == "flat" and rng.random() < 0.7:
        paths = [made["sky"][k] for k in rng.permutation(2)]
    elif rng.random() < 0.3:
        paths = made["merged"][:1]
    else:
        paths = _some(rng, made["ifu"][:2])
    offsets = pool.calibrations(field, "OFFSET_LIST") if rng.random() < 0.6 else []
    return [*_as(paths, OBJECT), *offsets], options


def make_cube(pool: Pool, rng: np.random.Generator) -> Run:
    """Tables in pixels, projected or positioned, with all methods and formats."""
    field, paths = _tables(
        pool, rng, ["ifu", "merged", "dar", "flux", "sky", "all"], ["plain", "flat", "flat"]
    )
    options: dict[str, Any] = {
        "resample": str(
            rng.choice(["drizzle", "drizzle", "nearest", "linear", "quadratic", "renka", "lanczos"])
        ),
        "crtype": str(rng.choice(["iraf", "mean", "median"])),
        "crsigma": float(rng.choice([0.0, 5.0, 15.0])),
        "format": str(rng.choice(["Cube", "Cube", "xCube", "Euro3D", "xEuro3D"])),
        "stacked": bool(rng.random() < 0.5),
        "filter": str(rng.choice(["white", "white,RED"])),
    }
    if options["resample"] == "nearest" and "Euro3D" in options["format"]:
        options["format"] = "Cube"  # flagged rows, a stated difference
    if rng.random() < 0.5:
        options["pixfrac"] = ",".join(f"{x:.2f}" for x in rng.uniform(0.5, 1.0, int(rng.integers(1, 4))))
    if rng.random() < 0.4:
        on_sky = paths[0] in (*pool.tables[field]["sky"], *pool.tables[field]["all"])
        step = 0.2 if on_sky else 1.0
        if "Euro3D" in options["format"] and not on_sky:
            options["format"] = "xCube"  # size of the images, a stated difference
        options |= {
            "dx": round(float(rng.uniform(1.0, 2.0) * step), 3),
            "dy": round(float(rng.uniform(1.0, 2.0) * step), 3),
        }
    if rng.random() < 0.4:
        options["dlambda"] = round(float(rng.uniform(1.0, 3.0)), 3)
    return [*_as(paths, OBJECT), *pool.calibrations(field, "FILTER_LIST")], options | _cut(rng, field)


STEPS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        combine_pixtables, correct_dar, calibrate_flux, raman, subtract_sky, subtract_sky_simple, correct_rv,
        apply_astrometry, make_cube,
    )
}  # fmt: skip
FITTED = ("QC SCIPOST RAMAN",)
"""What the fit of the Raman light gives; the C recipe ends its iterations early (a stated difference)."""


def run_both(c_pipeline: Any, name: str, run: Run, folder: Path) -> dict[str, tuple[Path, Path]]:
    """Run a step with both recipes; return the pairs of products by name."""
    frames, options = run
    folder.mkdir(parents=True, exist_ok=True)
    sof = folder / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    # C muse_scipost_raman ends with an error if its fit does not converge, but has saved its products
    check = name != "raman"
    c_pipeline.run(f"muse_scipost_{name}", sof, folder / "c", *option_text(options), check=check)
    (folder / "ours").mkdir()
    products = run_recipe(
        f"muse_scipost_{name}", frames, {**options, "compat": True}, workdir=folder / "ours"
    )
    peer = {path.name: path for path in (folder / "c").glob("*.fits")}
    ours = {product.path.name: product.path for product in products}
    assert set(ours) == set(peer), f"{sorted(ours)}, expected {sorted(peer)}"
    return {key: (peer[key], ours[key]) for key in sorted(peer)}


def compare_step(c_pipeline: Any, name: str, run: Run, folder: Path) -> None:
    """Compare all products of a step; of the Raman light those that its fit does not go into."""
    for reference, new in run_both(c_pipeline, name, run, folder).values():
        if name == "apply_astrometry":  # angles near zero: a float32 rounding of the rows is more than 1e-6
            assert_same_product(reference, new, ignore=("PIXTABLE LIMITS [XY] ",))
        elif name == "make_cube":
            # the weight of a row at the very edge of the lanczos kernel is a rounding error, 0 or not
            fraction = 5e-3 if run[1]["resample"] == "lanczos" else 1e-4
            assert_same_product(reference, new, fraction=fraction)
        elif name != "raman":
            assert_same_product(reference, new)
        else:
            left_out = ("data",) if new.name.startswith(REDUCED) else ("DATA", "RAMAN_FIT_O2")
            assert_same_product(reference, new, ignore=FITTED, without=left_out)


def main() -> None:
    """Make random runs and print what differs."""
    from tests.parity.conftest import CPipeline

    runs, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    bad = 0
    with tempfile.TemporaryDirectory() as place:
        pool = make_pool(Path(place) / "pool")
        for number in range(runs):
            for index, (name, draw) in enumerate(STEPS.items()):
                run = draw(pool, np.random.default_rng([seed, index, number]))
                try:
                    compare_step(CPipeline(), name, run, Path(place) / f"{name}_{number}")
                except Exception as error:  # noqa: BLE001
                    bad += 1
                    listed = [(path.parent.name + "/" + path.name, tag) for path, tag in run[0]]
                    print(f"{name} {number}: {run[1]} {listed}\n    {str(error)[:1500]}")
    print(f"{runs * len(STEPS)} pairs, {bad} differ")


if __name__ == "__main__":
    main()
