# SPDX-License-Identifier: BSD-3-Clause
"""Random sets and options of muse_scibasic beside the C recipe.

The seeds below are run with the other tests. As many as wanted, and which of them differ:

    python -m tests.parity.test_scibasic_random FIRST LAST FOLDER
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muse_core.framework import run_recipe
from muse_core.simulate.raw import RawSetup
from muse_core.simulate.raw_science import simulate_raw_science
from tests.basic.runs import edited
from tests.basic.test_corrections import write_cube
from tests.parity.compare import option_text
from tests.parity.conftest import CPipeline, need_c_recipe
from tests.parity.test_scibasic import FIELD, assert_same, write_sof

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("compat")]
SEEDS = (1, 3, 5, 11, 12)
MODES = ("WFM-NOAO-N", "WFM-NOAO-E", "WFM-AO-N", "WFM-AO-E", "NFM-AO-N")


def _choice(rng: np.random.Generator, values: tuple) -> Any:
    return values[int(rng.integers(len(values)))]


def random_set(seed: int) -> tuple[RawSetup, dict, dict]:
    """Draw an instrument, arguments of the simulator, options of the recipe."""
    rng = np.random.default_rng([7, seed])
    fine = rng.random() < 0.5  # lines are sampled as by the real instrument
    mode = MODES[0] if fine else _choice(rng, MODES)
    setup = RawSetup(
        seed=seed,
        nx=int(rng.integers(144, 170)),
        ny=int(rng.integers(66, 80) if fine else rng.integers(40, 60)),
        ifus=(int(rng.integers(1, 25)),),
        mode=mode,
        lambda_min=6215.0 if fine else float(rng.uniform(4500, 4700)),
        lambda_max=6400.0 if fine else float(rng.uniform(9300, 9500)),
        cosmics=int(rng.integers(0, 60)),
        saturated=float(_choice(rng, (0.0, 3e-5))),
        slice_fill=float(_choice(rng, (0.87, 0.8, 0.91))),
        gain=tuple(float(v) for v in rng.uniform(0.9, 1.3, 4)),
    )
    simulated = {
        "shift": float(rng.normal(0, 0.2)) if fine else 0.0,
        "illum": bool(not fine and rng.random() < 0.6),
        "merged": bool(rng.random() < 0.5),
        "exptime": float(_choice(rng, (30.0, 600.0))),
    }
    options: dict = {
        "nifu": setup.ifus[0],
        "overscan": _choice(rng, ("vpoly:4", "vpoly:6", "offset", "none")),
    }
    options["ovscreject"] = _choice(rng, ("dcr", "fit", "none", "dcr:100,20,2,3.0"))
    if rng.random() < 0.4:
        options |= {"ovscsigma": 20.0, "ovscignore": int(rng.integers(0, 6))}
    if rng.random() < 0.3:
        options |= {"cr": "dcr", "xbox": int(rng.integers(10, 30)), "ybox": int(rng.integers(15, 40))}
    options["crop"] = bool(rng.random() < 0.8)
    options["skylines"] = "6300.304" if fine else "none"
    if fine and rng.random() < 0.5:
        options |= {"skyhalfwidth": float(rng.uniform(4, 7)), "skyreject": "5.,5.,2"}
    options["saveimage"] = bool(rng.random() < 0.7)
    if rng.random() < 0.4:
        options |= {"resample": True, "dlambda": float(_choice(rng, (0.0, 2.5, 30.0)))}
    return setup, simulated, options


def several_exposures(seed: int) -> tuple[dict, dict]:
    """Draw a number of exposures, and how they are combined if at all."""
    rng = np.random.default_rng([9, seed])
    if rng.random() < 0.5:
        return {}, {}
    how = _choice(rng, ("none", "average", "median", "minmax", "sigclip"))
    options: dict = {"combine": how}
    if how != "none":
        options["scale"] = bool(rng.random() < 0.5)
    if how == "sigclip":
        options |= {"lsigma": float(rng.uniform(2, 6)), "hsigma": float(rng.uniform(2, 6))}
    # of minmax C makes NaN where no more than two values are good
    return {"exposures": {"minmax": 5, "sigclip": 3}.get(how, 2)}, options


def change_frames(frames: list, seed: int, folder: Path) -> list:
    """Leave frames and keywords out, tag the exposure otherwise, add TWILIGHT_CUBEs."""
    rng = np.random.default_rng([8, seed])
    dropped = [tag for tag in ("MASTER_DARK", "BADPIX_TABLE") if rng.random() < 0.3]
    frames = [frame for frame in frames if frame[1] not in dropped]
    tag = _choice(rng, ("OBJECT", "OBJECT", "STD", "SKY", "ASTROMETRY"))
    lost = [key for key in ("RA", "ESO TPL ID", "ESO INS TEMP1 VAL", "OBJECT") if rng.random() < 0.2]

    def drop(hdus: Any) -> None:
        for key in lost:
            hdus[0].header.remove(key, ignore_missing=True)

    changed = []
    for path, kind in frames:
        if kind == "OBJECT":
            changed.append(
                (edited(path, folder / f"science{len(changed)}.fits", drop) if lost else path, tag)
            )
        else:
            changed.append((path, kind))
    for n in range(int(rng.integers(0, 3))):
        cube = rng.uniform(0.8, 1.2, (6, 42, 42))
        wide = {**FIELD, "CD1_1": 10.0, "CD2_2": 10.0, "CD3_3": 900.0}
        changed.append((write_cube(folder / f"t{n}.fits", cube, **wide), "TWILIGHT_CUBE"))
    return changed


def compare(seed: int, folder: Path, c_pipeline: CPipeline) -> None:
    """Run both recipes on one random set."""
    setup, simulated, options = random_set(seed)
    several, combined = several_exposures(seed)
    simulated, options = simulated | several, options | combined
    made = simulate_raw_science(folder / "set", setup, n_stars=2, skyflats=0, calibrations=False, **simulated)
    frames = change_frames(made.raw, seed, folder)
    compare_run(frames, options, folder, c_pipeline)
    if not options["saveimage"] or setup.mode.startswith("NFM"):
        return  # C refuses reduced images of the narrow field: it looks for their RTC tables
    # the tables once more, from the images that C has reduced
    kept = [f for f in frames if f[1] in ("TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE", "TWILIGHT_CUBE")]
    images = sorted((folder / "c").glob("*_RED_0*.fits"))
    again = {
        key: options[key] for key in ("nifu", "crop", "skylines", "resample", "dlambda") if key in options
    }
    (folder / "again").mkdir()
    compare_run([*((path, "REDUCED") for path in images), *kept], again, folder / "again", c_pipeline)


def compare_run(frames: list, options: dict, folder: Path, c_pipeline: CPipeline) -> None:
    """Run both recipes on one set of frames, in the folders `c` and `ours`."""
    words = option_text(options)
    c_pipeline.run("muse_scibasic", write_sof(folder / "set.sof", frames), folder / "c", *words)
    (folder / "ours").mkdir()
    settings = options | {"compat": True}
    products = run_recipe("muse_scibasic", frames, settings, workdir=folder / "ours", threads=2)
    assert {p.path.name for p in products} == {p.name for p in (folder / "c").glob("*.fits")}
    # of combined exposures C names the first one alone
    ignore = ("REC1 RAW", "DATANCOM") if options.get("combine", "none") != "none" else ()
    for product in products:
        assert_same(folder / "c" / product.path.name, product.path, *ignore)


@pytest.mark.parametrize("seed", SEEDS)
def test_random_sets(c_pipeline, tmp_path, seed):
    need_c_recipe("muse_scibasic")
    compare(seed, tmp_path, c_pipeline)


def main() -> None:
    """Run seeds FIRST to LAST and tell which differ."""
    first, last, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    bad = []
    for seed in range(first, last + 1):
        own = folder / f"seed{seed}"
        own.mkdir(parents=True)
        try:
            compare(seed, own, CPipeline())
        except Exception as error:
            bad.append(seed)
            traceback.print_exc(limit=1)
            print(seed, random_set(seed), str(error)[-600:])  # noqa: T201
    print(f"{last - first + 1} sets, {len(bad)} differ: {bad}")  # noqa: T201


if __name__ == "__main__":
    main()
