# SPDX-License-Identifier: BSD-3-Clause
"""muse_bias, muse_dark and muse_flat beside the C recipes: random sets and options, and known defects.

The seeds below are run with the other tests. As many as wanted, and which of them differ:

    python -m tests.parity.test_masters RECIPE FIRST LAST FOLDER
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.raw_masters import RawMasters, simulate_masters
from tests.parity.compare import assert_same_product, option_text
from tests.parity.conftest import CPipeline, need_c_recipe

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("compat")]
SEEDS = {"muse_bias": (1, 2, 4)}
# the C recipe fits polynomials in powers of the row: coefficients agree to fewer digits than values
LOOSE = (r"OVSC\d POLY Y",)
# slope of a profile that is flat: rounding of the sums
SMALL = (r"QC BIAS MASTER\d SLOPE",)


def choice(rng: np.random.Generator, values: tuple) -> Any:
    """One of some values."""
    return values[int(rng.integers(len(values)))]


def common_options(rng: np.random.Generator, count: int) -> dict:
    """Options that all three recipes have."""
    options: dict = {"overscan": choice(rng, ("vpoly:3", "vpoly:5,1.01,1.01", "vpoly:4", "offset", "none"))}
    options["ovscreject"] = choice(rng, ("dcr", "fit", "none", "dcr:100", "fit:4"))
    if rng.random() < 0.5:
        options |= {"ovscsigma": choice(rng, (30.0, 12.0, 100.0)), "ovscignore": int(rng.integers(0, 8))}
    options["combine"] = choice(rng, ("sigclip", "sigclip", "average", "median", "minmax"))
    if options["combine"] == "minmax":
        options |= {"nlow": int(rng.integers(0, 2)), "nhigh": int(rng.integers(0, count - 1)), "nkeep": 1}
    if options["combine"] == "sigclip" and rng.random() < 0.5:
        options |= {"lsigma": float(rng.uniform(1.2, 4)), "hsigma": float(rng.uniform(1.2, 4))}
    return options


def random_setup(seed: int, rng: np.random.Generator, **changes: Any) -> RawSetup:
    """Draw a small instrument."""
    values = {
        "nx": int(rng.integers(110, 200)),
        "ny": int(rng.integers(110, 160)),
        "ifus": tuple(sorted({int(i) for i in rng.integers(1, 25, int(rng.integers(1, 3)))})),
        "saturated": float(choice(rng, (0.0, 1e-4))),
        "cosmics": int(rng.integers(0, 40)),
        "gain": tuple(float(v) for v in rng.uniform(0.9, 1.3, 4)),
        "ron": tuple(float(v) for v in rng.uniform(2.0, 4.0, 4)),
        "bias_slope": float(rng.uniform(0, 5)),
    }
    return RawSetup(seed=seed, **(values | changes))


def write_sof(path: Path, frames: list) -> Path:
    """Write a set of frames."""
    path.write_text("".join(f"{file} {tag}\n" for file, tag in frames), encoding="utf-8")
    return path


def run_both(
    recipe: str, frames: list, options: dict, folder: Path, c_pipeline: CPipeline, **compared: Any
) -> None:
    """Run both recipes on the same frames, and compare all products."""
    need_c_recipe(recipe)
    c_pipeline.run(recipe, write_sof(folder / "set.sof", frames), folder / "c", *option_text(options))
    (folder / "ours").mkdir()
    products = run_recipe(recipe, frames, options | {"compat": True}, workdir=folder / "ours", threads=2)
    assert {p.path.name for p in products} == {p.name for p in (folder / "c").glob("*.fits")}
    for product in products:
        assert_same_product(folder / "c" / product.path.name, product.path, **compared)


def bias_set(seed: int, folder: Path) -> tuple[RawMasters, list, dict]:
    """Draw a set for muse_bias, and options."""
    rng = np.random.default_rng([11, seed])
    count = int(rng.integers(3, 8))
    made = simulate_masters(
        folder, random_setup(seed, rng), biases=count, darks=(), flats=(), columns=int(rng.integers(0, 12))
    )
    options = common_options(rng, count)
    if rng.random() < 0.6:
        options |= {
            "losigmabadpix": float(choice(rng, (30.0, 3.0, 8.0))),
            "hisigmabadpix": float(choice(rng, (3.0, 1.0, 2.0))),
        }
    options["nifu"] = made.ifus[-1]
    return made, made.frames("BIAS", *(("BADPIX_TABLE",) if rng.random() < 0.7 else ())), options


SETS = {"muse_bias": bias_set}


def compare(recipe: str, seed: int, folder: Path, c_pipeline: CPipeline) -> None:
    """Run both recipes on one random set."""
    _, frames, options = SETS[recipe](seed, folder / "set")
    run_both(recipe, frames, options, folder, c_pipeline, rtol=2e-6, ignore=(*LOOSE, *SMALL))


@pytest.mark.parametrize(
    ("recipe", "seed"), [(name, seed) for name, seeds in SEEDS.items() for seed in seeds]
)
def test_random_sets(c_pipeline, tmp_path, recipe, seed):
    compare(recipe, seed, tmp_path, c_pipeline)


@pytest.fixture(scope="module")
def bias_frames(tmp_path_factory):
    setup = RawSetup(seed=4, nx=128, ny=80, ifus=tuple(range(1, 25)), gain=(1.6, 1.08, 1.12, 1.09))
    return simulate_masters(
        tmp_path_factory.mktemp("bias"), setup, biases=3, darks=(), flats=(), masters=False
    ).raw


def test_master_bias_of_all_ifus(bias_frames, tmp_path, c_pipeline):
    """One file for all IFUs, and what a header of it says; slopes of flat profiles are rounding."""
    options = {"merge": True, "overscan": "vpoly:3"}
    run_both("muse_bias", bias_frames, options, tmp_path, c_pipeline, ignore=(*LOOSE, *SMALL))


@pytest.mark.defect("first_bias_shifted_only")
def test_only_the_first_bias_is_shifted(bias_frames, tmp_path, c_pipeline):
    options = {"nifu": 3, "overscan": "offset", "combine": "average"}
    run_both("muse_bias", bias_frames, options, tmp_path, c_pipeline, ignore=SMALL)
    (tmp_path / "right").mkdir()
    run_recipe("muse_bias", bias_frames, options | {"compat": False}, workdir=tmp_path / "right")
    level, right = (
        float(np.median(fits.getdata(tmp_path / name / "MASTER_BIAS-03.fits", "DATA")[:80, :128]))
        for name in ("c", "right")
    )
    # frames drift by 0.3 adu each: C has the levels 3, 2, 3 in units of the drift, ours that of the first
    assert level - right == pytest.approx((2 + 1 + 2) / 3 * 0.3, abs=0.1)


@pytest.mark.defect("column_noise_in_count")
def test_columns_are_judged_by_noise_in_count(bias_frames, tmp_path, c_pipeline):
    """A column whose scatter lies between the noise in adu and that in count is no bad one for C."""
    gain, noise = 1.6, RawSetup().ron[0]
    rng = np.random.default_rng(3)
    scatter = rng.standard_normal(80)
    scatter = (
        (scatter - scatter.mean())
        / scatter.std(ddof=1)
        * np.sqrt((0.8 * noise) ** 2 - noise**2 / gain**2 / 3)
    )
    frames = []
    for path, tag in bias_frames:
        changed = tmp_path / path.name
        with fits.open(path) as hdus:
            part = hdus[1].data[32:112, 60].astype(float) + 40 + scatter
            hdus[1].data[32:112, 60] = np.rint(part).astype(np.uint16)
            fits.HDUList(hdus[:2]).writeto(changed)
        frames.append((changed, tag))
    options = {"nifu": 1, "overscan": "vpoly:3", "combine": "average"}
    run_both("muse_bias", frames, options, tmp_path, c_pipeline, ignore=(*LOOSE, *SMALL))
    (tmp_path / "right").mkdir()
    run_recipe("muse_bias", frames, options | {"compat": False}, workdir=tmp_path / "right")
    theirs, right = (
        np.count_nonzero(fits.getdata(tmp_path / name / "MASTER_BIAS-01.fits", "DQ")[:, 28])
        for name in ("c", "right")
    )
    assert theirs == 0 and right > 70


def main() -> None:
    """Run seeds FIRST to LAST of a recipe and tell which differ."""
    recipe, first, last, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    bad = []
    for seed in range(first, last + 1):
        own = folder / f"{recipe}{seed}"
        own.mkdir(parents=True)
        try:
            compare(recipe, seed, own, CPipeline())
        except Exception as error:
            bad.append(seed)
            traceback.print_exc(limit=1)
            print(seed, str(error)[-900:])  # noqa: T201
    print(f"{recipe}: {last - first + 1} sets, {len(bad)} differ: {bad}")  # noqa: T201


if __name__ == "__main__":
    main()
