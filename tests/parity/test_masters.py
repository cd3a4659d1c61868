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

from muse_core.framework import RecipeError, run_recipe
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.raw_masters import RawMasters, simulate_masters
from tests.parity.compare import assert_same_product, option_text
from tests.parity.conftest import CPipeline, need_c_recipe

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("compat")]
SEEDS = {"muse_bias": (1, 2, 4), "muse_dark": (1, 2), "muse_flat": (1, 2)}
# the C recipe fits polynomials in powers of the row: coefficients agree to fewer digits than values
LOOSE = (r"OVSC\d POLY Y",)
# slope of a profile that is flat: rounding of the sums
SMALL = (r"QC BIAS MASTER\d SLOPE",)
# of C these are taken at rows of the full detector, whatever the size (docs/differences.md)
OF_FULL_SIZE = (r"QC TRACE", r"QC FLAT MASTER SLICE")
TRACE_COLUMNS = r"tc\d_|MSE\d|Width"  # compared by what they give
EDGE_ERROR = 1e-5  # pixels, between the polynomials of both


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
    folder.mkdir(exist_ok=True)
    c_pipeline.run(recipe, write_sof(folder / "set.sof", frames), folder / "c", *option_text(options))
    (folder / "ours").mkdir()
    products = run_recipe(recipe, frames, options | {"compat": True}, workdir=folder / "ours", threads=2)
    assert {p.path.name for p in products} == {p.name for p in (folder / "c").glob("*.fits")}
    for product in products:
        reference = folder / "c" / product.path.name
        if product.tag == "TRACE_TABLE":
            compared = compared | {"columns": TRACE_COLUMNS}
            assert_same_traces(reference, product.path)
        assert_same_product(reference, product.path, **compared)


def assert_same_traces(reference: Path, ours: Path) -> None:
    """Compare polynomials by their values, since coefficients of high powers have no digits of their own."""
    with fits.open(reference) as a, fits.open(ours) as b:
        for theirs, own in zip(a[1:], b[1:], strict=True):
            t, o = theirs.data, own.data
            assert np.array_equal(np.asarray(t["SliceNo"]), np.asarray(o["SliceNo"]))
            np.testing.assert_allclose(o["Width"], t["Width"], rtol=2e-7)
            y = np.arange(1.0, 121.0)
            for which in range(3):
                names = [n for n in t.names if n.startswith(f"tc{which}_")]
                assert names == [n for n in o.names if n.startswith(f"tc{which}_")]
                edges = [
                    np.polynomial.polynomial.polyval(y, np.array([data[n] for n in names])) for data in (t, o)
                ]
                np.testing.assert_allclose(edges[1], edges[0], atol=EDGE_ERROR, rtol=0)
                # mean squares of residuals of some 0.01 pixels
                np.testing.assert_allclose(o[f"MSE{which}"], t[f"MSE{which}"], rtol=2e-4)


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


def flat_set(seed: int, folder: Path) -> tuple[RawMasters, list, dict]:
    """Draw a set for muse_flat, and options; slices need a detector of full width."""
    rng = np.random.default_rng([12, seed])
    setup = random_setup(seed, rng, nx=2048, ny=int(rng.integers(60, 90)), ifus=(int(rng.integers(1, 25)),))
    count = int(rng.integers(3, 6))
    times = tuple(float(v) for v in choice(rng, ((0.35,), (0.35, 0.3, 0.5))) * count)[:count]
    made = simulate_masters(folder, setup, biases=0, darks=(), flats=times, columns=int(rng.integers(0, 12)))
    options = common_options(rng, count) | {"nifu": setup.ifus[0], "samples": bool(rng.random() < 0.8)}
    # without a polynomial the level must be that of the generator's master
    options["overscan"] = choice(rng, ("vpoly:3", "vpoly:4", "vpoly:5,1.01,1.01"))
    if rng.random() < 0.8:
        options |= {
            "nsum": int(choice(rng, (6, 8, 10, 16))), "order": int(rng.integers(1, 5)),
            "edgefrac": float(choice(rng, (0.5, 0.4, 0.3))),
        }  # fmt: skip
    else:
        options |= {"nsum": 8}
    if rng.random() < 0.5:
        options |= {"losigmabadpix": float(rng.uniform(3, 6)), "hisigmabadpix": float(rng.uniform(3, 6))}
    options |= {"scale": bool(rng.random() < 0.7), "normalize": bool(rng.random() < 0.7)}
    options["trace"] = bool(rng.random() < 0.9)
    optional = [tag for tag in ("MASTER_DARK", "BADPIX_TABLE") if rng.random() < 0.7]
    return made, made.frames("FLAT", "MASTER_BIAS", *optional), options


def dark_set(seed: int, folder: Path) -> tuple[RawMasters, list, dict]:
    """Draw a set for muse_dark, and options."""
    rng = np.random.default_rng([13, seed])
    setup = random_setup(seed, rng)
    count = int(rng.integers(3, 7))
    times = tuple(
        float(v) for v in choice(rng, ((1800.0,), (1800.0, 900.0, 3600.0), (600.0, 1200.0))) * count
    )
    made = simulate_masters(folder, setup, biases=0, darks=times[:count], flats=())
    options = common_options(rng, count) | {"nifu": setup.ifus[0]}
    options["overscan"] = choice(rng, ("vpoly:3", "vpoly:4", "vpoly:5,1.01,1.01"))
    options |= {"scale": bool(rng.random() < 0.7), "hotsigma": float(choice(rng, (5.0, 3.0, 8.0)))}
    options["normalize"] = float(choice(rng, (3600.0, -1.0, 1800.0)))
    return (
        made,
        made.frames("DARK", "MASTER_BIAS", *(("BADPIX_TABLE",) if rng.random() < 0.7 else ())),
        options,
    )


SETS = {"muse_bias": bias_set, "muse_dark": dark_set, "muse_flat": flat_set}


def compare(recipe: str, seed: int, folder: Path, c_pipeline: CPipeline) -> None:
    """Run both recipes on one random set."""
    made, frames, options = SETS[recipe](seed, folder / "set")
    run_both(recipe, frames, options, folder, c_pipeline, rtol=2e-6, ignore=(*LOOSE, *SMALL, *OF_FULL_SIZE))
    assert made.ifus


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


@pytest.mark.defect("windows_of_other_ifus")
def test_windows_of_the_dark_current_go_on(tmp_path, c_pipeline):
    setup = RawSetup(seed=9, nx=48, ny=40, ifus=tuple(range(1, 25)), cosmics=3)
    made = simulate_masters(tmp_path / "set", setup, biases=0, darks=(1800.0,) * 3, flats=())
    frames = made.frames("DARK", "MASTER_BIAS")
    options = {"overscan": "vpoly:3"}
    run_both("muse_dark", frames, options, tmp_path, c_pipeline, rtol=2e-6, ignore=LOOSE)
    right = run_right(frames, options, tmp_path, "muse_dark")
    key = "ESO QC DARK MASTER DC"
    theirs, ours = (
        [fits.getheader(folder / f"MASTER_DARK-{ifu:02d}.fits")[key] for ifu in (1, 2, 24)]
        for folder in (tmp_path / "c", right)
    )
    assert theirs[0] == pytest.approx(ours[0], rel=1e-6)
    assert all(abs(a - b) > 1e-4 for a, b in zip(theirs[1:], ours[1:], strict=True))


FLATS = {"nifu": 2, "overscan": "vpoly:3", "nsum": 8, "order": 3}


@pytest.fixture(scope="module")
def flats(tmp_path_factory):
    setup = RawSetup(seed=6, nx=2048, ny=128, ifus=(2,), cosmics=0)
    return simulate_masters(tmp_path_factory.mktemp("flat"), setup, biases=0, darks=())


def changed_flats(flats: RawMasters, folder: Path, change: Any) -> list:
    """Flats with changed light: ``change(image, frame)`` gets the trimmed data, float64, less the bias."""
    frames = []
    for path, tag in flats.frames("FLAT", "MASTER_BIAS"):
        if tag == "FLAT":
            with fits.open(path) as hdus:
                raw = hdus[1].data.astype(float)
                rows = np.r_[32:160, 224:352]
                columns = np.r_[32:2080, 2144:4192]
                where = np.ix_(rows, columns)
                light = raw[where]
                change(light)
                raw[where] = light
                hdus[1].data = np.clip(np.rint(raw), 0, 65535).astype(np.uint16)
                hdus.writeto(folder / path.name)
            path = folder / path.name
        frames.append((path, tag))
    return frames


def run_right(frames: list, options: dict, folder: Path, recipe: str = "muse_flat") -> Path:
    """Run ours without the defects."""
    (folder / "right").mkdir()
    run_recipe(recipe, frames, options | {"compat": False}, workdir=folder / "right")
    return folder / "right"


@pytest.mark.defect("slices_at_border_lost")
def test_slices_at_the_border_have_no_traces(flats, tmp_path, c_pipeline):
    """The middles of the first and the last simulated slice lie 43 pixels from the border."""
    frames = flats.frames("FLAT", "MASTER_BIAS", "MASTER_DARK", "BADPIX_TABLE")
    run_both("muse_flat", frames, FLATS, tmp_path, c_pipeline, ignore=(*LOOSE, *OF_FULL_SIZE))
    lost = fits.getdata(tmp_path / "c" / "TRACE_TABLE-02.fits")["Width"]
    assert np.flatnonzero(np.isnan(lost)).tolist() == [0, 47]
    right = fits.getdata(run_right(frames, FLATS, tmp_path) / "TRACE_TABLE-02.fits")
    assert right["SliceNo"].tolist() == list(range(1, 49))
    assert np.ptp(right["Width"]) < 1.0


@pytest.mark.defect("widths_of_other_rows")
def test_edges_take_the_widths_of_other_rows(flats, tmp_path, c_pipeline):
    """A band of rows lies aside: its sample is rejected, and widths of later ones move down by one."""

    def shift(light):
        part = light[40:48, 1000:1400]
        light[40:48, 1000:1400] = 0.7 * part + 0.3 * np.roll(part, 1, axis=1)

    frames = changed_flats(flats, tmp_path, shift)
    run_both("muse_flat", frames, FLATS, tmp_path, c_pipeline, ignore=(*LOOSE, *OF_FULL_SIZE))
    theirs = fits.getdata(tmp_path / "c" / "TRACE_TABLE-02.fits")
    right = fits.getdata(run_right(frames, FLATS, tmp_path) / "TRACE_TABLE-02.fits")
    shifted, other = slice(13, 15), slice(30, 40)
    assert np.abs(theirs["tc1_00"] - right["tc1_00"])[shifted].max() > 1e-4
    assert np.abs(theirs["tc1_00"] - right["tc1_00"])[other].max() < 1e-6


@pytest.mark.defect("lost_slices_written")
def test_a_slice_that_cannot_be_traced_is_written_as_undefined(flats, tmp_path, c_pipeline):
    """Slice 20 has light in the middle rows alone: fewer samples than coefficients."""

    def darken(light):
        for rows in (slice(0, 121), slice(135, 256)):
            light[rows, 1622:1708] = light[rows, 1622:1623]

    frames = changed_flats(flats, tmp_path, darken)
    run_both("muse_flat", frames, FLATS, tmp_path, c_pipeline, ignore=(*LOOSE, *OF_FULL_SIZE))
    theirs = fits.getdata(tmp_path / "c" / "TRACE_TABLE-02.fits")
    assert np.isnan(theirs["Width"][19]) and np.isfinite(theirs["Width"][20])
    with pytest.raises(RecipeError, match="traces of slice 20: expected more than 3 places"):
        run_right(frames, FLATS, tmp_path)


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """Raw frames for masters, and a science frame of the same instrument with the tables that it needs."""
    from muse_core.simulate.raw_science import simulate_raw_science

    folder = tmp_path_factory.mktemp("chain")
    setup = RawSetup(seed=7, nx=2048, ny=40, ifus=(2,), cosmics=5)
    science = simulate_raw_science(
        folder / "science", setup, n_stars=2, skyflats=0, illum=False, calibrations=False
    )
    wanted = ("OBJECT", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE")
    return simulate_masters(folder / "masters", setup, biases=3), [f for f in science.raw if f[1] in wanted]


def make_masters(made: RawMasters, folder: Path, c_pipeline: CPipeline | None) -> list:
    """Master bias, dark and flat and the trace table, by the C recipes or by ours."""
    masters: list = []
    folder.mkdir()
    common = {"nifu": 2, "overscan": "vpoly:3"}
    for recipe, tags, options in (
        ("muse_bias", ("BIAS",), {}),
        ("muse_dark", ("DARK",), {}),
        ("muse_flat", ("FLAT",), {"nsum": 8, "order": 3}),
    ):
        frames = made.frames(*tags) + [
            frame for frame in masters if frame[1] in ("MASTER_BIAS", "MASTER_DARK")
        ]
        if recipe == "muse_dark":
            frames = [frame for frame in frames if frame[1] != "MASTER_DARK"]
        if c_pipeline is not None:
            sof = write_sof(folder / f"{recipe}.sof", frames)
            c_pipeline.run(recipe, sof, folder, *option_text(common | options))
        else:
            run_recipe(recipe, frames, common | options | {"compat": False}, workdir=folder)
        masters += [
            (path, path.stem.removesuffix("-02"))
            for path in sorted(folder.glob("*-02.fits"))
            if path not in [known for known, _ in masters]
        ]
    return masters


def test_masters_of_both_can_be_mixed(chain, tmp_path, c_pipeline):
    """Our masters through C's muse_scibasic and those of C through ours give what C gives alone.

    Traces are those of the simulator, since C traces no slices at the border; ours come in the end.
    """
    need_c_recipe("muse_scibasic")
    made, science = chain
    masters = {
        "c": make_masters(made, tmp_path / "c", c_pipeline),
        "ours": make_masters(made, tmp_path / "ours", None),
    }
    options = {"nifu": 2, "overscan": "vpoly:3", "skylines": "none"}
    images = {}
    for theirs in masters:
        frames = [*science, *(frame for frame in masters[theirs] if frame[1].startswith("MASTER"))]
        assert {tag for _, tag in frames} >= {"MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT"}
        for runner in ("c", "ours"):
            out = tmp_path / f"{theirs}-{runner}"
            out.mkdir()
            if runner == "c":
                c_pipeline.run("muse_scibasic", write_sof(out / "s.sof", frames), out, *option_text(options))
            else:
                run_recipe("muse_scibasic", frames, options, workdir=out)
            images[theirs, runner] = out / "OBJECT_RED_0001-02.fits"
    reference = images.pop(("c", "c"))
    for path in images.values():
        # paths of products differ, and so do the sums of files that were made by another program
        assert_same_product(reference, path, rtol=3e-6, ignore=(*LOOSE, r"DATAMD5", r"PARAM\d+"))
    frames = [frame for frame in science if frame[1] != "TRACE_TABLE"] + masters["ours"]
    run_both("muse_scibasic", frames, options | {"saveimage": False}, tmp_path / "traces", c_pipeline)


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
