# SPDX-License-Identifier: BSD-3-Clause
"""Random runs of muse_exp_combine beside C: ``python -m tests.parity.random_exp_combine RUNS [SEED]``.

Tables of three fields (with and without flat-field spectra, wide and narrow field) are reduced once; each run
draws exposures, their order, OFFSET_LIST, and parameters, and compares all products.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from muse_core.framework import run_recipe
from muse_core.simulate.scipost import simulate_scipost
from tests.parity.compare import assert_same_product, option_text
from tests.parity.conftest import CPipeline

Frames = list[tuple[Path, str]]
SMALL: dict[str, Any] = {
    "n_ifu": 1, "slices": 8, "columns": 24, "n_exposures": 3, "posang": (0.0, 90.0, 180.0),
    "exptime": (600.0, 300.0, 450.0), "seeing": (0.7, 0.9, 1.1),
    "offsets": ((0.0, 0.0), (0.9, -0.7), (-1.1, 0.4)), "flux_scales": (1.0, 1.1, 0.9),
}  # fmt: skip
FIELDS: dict[str, dict[str, Any]] = {
    "plain": {"lambda_range": (7150.0, 7185.0)},
    "flat": {"lambda_range": (6270.0, 6310.0), "flat_field": True},
    "narrow": {"lambda_range": (7150.0, 7185.0), "mode": "NFM-AO-N"},
}


def reduce_fields(folder: Path) -> dict[str, tuple[Frames, Frames]]:
    """Return reduced tables and other frames of each field."""
    made = {}
    for number, (name, choice) in enumerate(FIELDS.items()):
        simulation = simulate_scipost(folder / name, seed=61 + number, **{**SMALL, **choice})
        out = folder / f"{name}_reduced"
        out.mkdir()
        options = {"skymethod": "none", "save": "individual", "compat": True}
        products = run_recipe(
            "muse_scipost", simulation.frames(without=["RAMAN_LINES"]), options, workdir=out
        )
        tables = [(p.path, p.tag) for p in products if p.tag == "PIXTABLE_REDUCED"]
        made[name] = (tables, simulation.frames(only=["OFFSET_LIST", "FILTER_LIST"]))
    return made


def draw(made: dict[str, tuple[Frames, Frames]], rng: np.random.Generator) -> tuple[Frames, dict[str, Any]]:
    """Return frames and options of one run."""
    name = str(rng.choice(list(made)))
    tables, others = made[name]
    chosen = [tables[k] for k in rng.permutation(3)[: int(rng.integers(2, 4))]]
    frames = chosen + [frame for frame in others if frame[1] == "FILTER_LIST" or rng.random() < 0.6]
    low, high = FIELDS[name]["lambda_range"]
    methods = ["drizzle", "drizzle", "nearest", "linear", "quadratic", "renka", "lanczos"]
    options: dict[str, Any] = {
        "save": str(rng.choice(["cube", "combined", "cube,combined", "combined,cube"])),
        "resample": str(rng.choice(methods)),
        "crtype": str(rng.choice(["iraf", "mean", "median"])),
        "crsigma": float(rng.choice([0.0, 4.0, 10.0])),
        "weight": str(rng.choice(["exptime", "fwhm", "header", "none"])),
        "format": str(rng.choice(["Cube", "Cube", "xCube", "Euro3D", "xEuro3D", "sdpCube"])),
        "filter": str(rng.choice(["white", "white,RED", "RED"])),
    }
    if options["resample"] == "nearest" and "Euro3D" in options["format"]:
        options["format"] = "Cube"  # flagged rows, a stated difference
    if rng.random() < 0.5:
        options["pixfrac"] = ",".join(f"{x:.2f}" for x in rng.uniform(0.5, 1.0, int(rng.integers(1, 4))))
    if rng.random() < 0.4:
        step = 0.025 if name == "narrow" else 0.2
        options |= {key: round(float(rng.uniform(1.0, 2.0) * step), 4) for key in ("dx", "dy")}
    if rng.random() < 0.4:
        options["dlambda"] = round(float(rng.uniform(1.0, 3.0)), 3)
    if rng.random() < 0.3:
        options["lambdamin"] = round(float(rng.uniform(low, low + 10.0)), 3)
    if rng.random() < 0.3:
        options["lambdamax"] = round(float(rng.uniform(high - 8.0, high)), 3)
    if rng.random() < 0.2:
        options["rc"] = round(float(rng.uniform(1.0, 2.0)), 2)
    return frames, options


def compare(frames: Frames, options: dict[str, Any], folder: Path) -> None:
    """Run both recipes and compare their products."""
    folder.mkdir()
    sof = folder / "in.sof"
    sof.write_text("".join(f"{path} {tag}\n" for path, tag in frames))
    CPipeline().run("muse_exp_combine", sof, folder / "c", *option_text(options))
    (folder / "ours").mkdir()
    products = run_recipe("muse_exp_combine", frames, {**options, "compat": True}, workdir=folder / "ours")
    peer = {path.name: path for path in (folder / "c").glob("*.fits") if path.name != "fov_clean.fits"}
    ours = {product.path.name: product.path for product in products}
    assert set(ours) == set(peer), f"{sorted(ours)}, expected {sorted(peer)}"
    for name in sorted(peer):
        assert_same_product(peer[name], ours[name], ignore=("^PROCSOFT$",))


def main() -> None:
    """Make random runs and print what differs."""
    runs, seed = int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 1
    bad = 0
    with tempfile.TemporaryDirectory() as place:
        made = reduce_fields(Path(place))
        for number in range(runs):
            frames, options = draw(made, np.random.default_rng([seed, number]))
            try:
                compare(frames, options, Path(place) / f"run_{number}")
            except Exception as error:  # noqa: BLE001
                bad += 1
                listed = [(path.parent.name + "/" + path.name, tag) for path, tag in frames]
                print(f"{number}: {options} {listed}\n    {str(error)[:1500]}", flush=True)
    print(f"{runs} pairs, {bad} differ")


if __name__ == "__main__":
    main()
