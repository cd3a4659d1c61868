# SPDX-License-Identifier: BSD-3-Clause
"""muse_scibasic beside the C recipe on simulated raw frames: every mode, most options.

Rows, wavelengths and flags are equal; data and variances within 1e-6, spectra of the flat field within 1e-12,
shifts within 1e-6 Angstrom.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.framework.registry import load
from muse_core.simulate.raw import RawSetup
from muse_core.simulate.raw_science import simulate_raw_science
from tests.basic.test_corrections import write_cube
from tests.oracle import need_c_recipe
from tests.parity.compare import keyword_differences, option_text

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("compat")]
RTOL = 1e-6
LOW_ORDER = {"overscan": "vpoly:6"}  # C evaluates polynomials of order 12 and more with errors of some adu
FIELD = {"CRVAL1": -210, "CRVAL2": -210, "CRVAL3": 4600}
LINES = {"lambda_min": 5520.0, "lambda_max": 6420.0}

SETS = {
    "lines": (
        RawSetup(nx=150, ny=260, ifus=(2,), cosmics=30, saturated=2e-5, **LINES),
        {"shift": 0.21, "illum": False},
    ),
    "two": (RawSetup(nx=144, ny=130, ifus=(5,), **LINES), {"shift": -0.15, "exposures": 2, "illum": False}),
    "laser": (RawSetup(nx=150, ny=60, ifus=(7,), mode="WFM-AO-E", lambda_min=4550, lambda_max=9450), {}),
    "narrow": (RawSetup(nx=150, ny=60, ifus=(24,), mode="NFM-AO-N", lambda_min=4600, lambda_max=9450), {}),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A run: which set, which IFU, which options; whether its exposures are tagged STD."""

    raw_set: str
    nifu: int
    options: dict
    twilight: bool = False
    tag: str = "OBJECT"


CASES = {
    "defaults": Case("lines", 2, LOW_ORDER),
    "cosmics": Case("lines", 2, LOW_ORDER | {"cr": "dcr", "xbox": 20, "ybox": 30, "passes": 3, "thres": 5.0}),
    "lines": Case(
        "lines", 2,
        LOW_ORDER
        | {"skylines": "6300.304", "skyreject": "4.,4.,2", "skyhalfwidth": 6.0, "skybinsize": 0.2},
    ),
    "offset": Case("lines", 2, {"overscan": "offset", "ovscreject": "fit", "skylines": "", "crop": False}),
    "alone": Case("lines", 2, LOW_ORDER | {"skylines": "none", "merge": True}),  # nothing is merged
    "two": Case("two", 5, LOW_ORDER | {"saveimage": False}),
    "mean": Case("two", 5, LOW_ORDER | {"combine": "average"}),
    "median": Case("two", 5, LOW_ORDER | {"combine": "median", "scale": False, "skylines": ""}),
    "laser": Case("laser", 7, LOW_ORDER | {"skylines": "none", "resample": True}, twilight=True),
    "narrow": Case("narrow", 24, LOW_ORDER | {"skylines": "none", "resample": True, "dlambda": 3.0}),
    "standard": Case("laser", 7, LOW_ORDER | {"skylines": "none", "ovscreject": "none"}, tag="STD"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Simulated sets, made when asked for: frames by name."""
    made = {}

    def get(name):
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            setup, options = SETS[name]
            set_ = simulate_raw_science(folder, setup, n_stars=2, skyflats=0, calibrations=False, **options)
            made[name] = set_.raw
        return made[name]

    return get


def write_sof(path, frames):
    path.write_text("".join(f"{file} {tag}\n" for file, tag in frames))
    return path


def assert_same(expected, new, *ignore):
    """All extensions and keywords of two products."""
    with fits.open(expected) as ref, fits.open(new) as ours:
        assert [h.name.upper() for h in ref] == [h.name.upper() for h in ours]
        for a, b in zip(ref, ours, strict=True):
            where = f"{new.name}[{a.name}]"
            # terms of the overscan polynomial: rounding of high powers
            wrong = keyword_differences(a.header, b.header, (r"OVSC\d POLY Y", "LAMBDA SHIFT", *ignore))
            assert not wrong, f"{where} {wrong[:5]}"
            key = "ESO QC SCIBASIC LAMBDA SHIFT"
            if key in a.header:
                assert b.header[key] == pytest.approx(a.header[key], abs=1e-6)
            if isinstance(a, fits.BinTableHDU):
                assert np.array_equal(a.data["lambda"], b.data["lambda"])
                assert np.allclose(a.data["data"], b.data["data"], rtol=1e-12), where
            elif a.data is not None:
                assert a.data.shape == b.data.shape, where
                if a.data.dtype.kind == "i" or a.name.lower() == "lambda":
                    assert np.array_equal(a.data, b.data), where
                else:
                    scale = np.maximum(np.abs(a.data), 1)
                    assert np.max(np.abs(a.data.astype(float) - b.data) / scale) < RTOL, where


@pytest.mark.parametrize("name", CASES)
def test_same_products(c_pipeline, sets, tmp_path, name):
    need_c_recipe("muse_scibasic")
    case = CASES[name]
    frames = [(path, case.tag if tag == "OBJECT" else tag) for path, tag in sets(case.raw_set)]
    if case.twilight:
        rng = np.random.default_rng(1)
        cubes = [rng.uniform(0.8, 1.2, (19, 420, 420)) for _ in range(2)]
        frames += [
            (write_cube(tmp_path / f"t{i}.fits", cube, **FIELD), "TWILIGHT_CUBE")
            for i, cube in enumerate(cubes)
        ]  # fmt: skip
    sof = write_sof(tmp_path / "set.sof", frames)
    options = case.options | {"nifu": case.nifu}
    c_pipeline.run("muse_scibasic", sof, tmp_path / "c", *option_text(options))
    ours = tmp_path / "ours"
    ours.mkdir()
    products = run_recipe("muse_scibasic", frames, options, workdir=ours, threads=2)
    assert {p.path.name for p in products} == {p.name for p in (tmp_path / "c").glob("*.fits")}
    for product in products:
        # of combined exposures C names the first one alone
        ignore = ("REC1 RAW", "DATANCOM") if "combine" in options else ()
        assert_same(tmp_path / "c" / product.path.name, product.path, *ignore)


def test_reduced_images(c_pipeline, sets, tmp_path):
    """Tables from reduced images: equal bit by bit, since both start from the same."""
    need_c_recipe("muse_scibasic")
    frames = sets("lines")
    c_pipeline.run(
        "muse_scibasic",
        write_sof(tmp_path / "raw.sof", frames),
        tmp_path / "raw",
        "--nifu=2",
        "--overscan=vpoly:6",
    )
    kept = [f for f in frames if f[1] in ("TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE")]
    again = [(tmp_path / "raw" / "OBJECT_RED_0001-02.fits", "REDUCED"), *kept]
    c_pipeline.run("muse_scibasic", write_sof(tmp_path / "red.sof", again), tmp_path / "c", "--nifu=2")
    (tmp_path / "ours").mkdir()
    for product in run_recipe("muse_scibasic", again, {"nifu": 2}, workdir=tmp_path / "ours"):
        assert_same(tmp_path / "c" / product.path.name, product.path)


def test_merged(c_pipeline, tmp_path):
    """All IFUs in one call, their images in one file; the merged images reduced once more, as REDUCED."""
    need_c_recipe("muse_scibasic")
    setup = RawSetup(nx=144, ny=36, ifus=tuple(range(1, 25)), lambda_min=4600.0, lambda_max=9400.0)
    made = simulate_raw_science(
        tmp_path / "set", setup, n_stars=2, skyflats=0, calibrations=False, illum=True
    )
    options = LOW_ORDER | {"merge": True, "skylines": "none", "resample": True, "dlambda": 20.0}
    sof = write_sof(tmp_path / "set.sof", made.raw)
    c_pipeline.run("muse_scibasic", sof, tmp_path / "c", *option_text(options))
    (tmp_path / "ours").mkdir()
    products = run_recipe("muse_scibasic", made.raw, options, workdir=tmp_path / "ours", threads=2)
    assert {p.path.name for p in products} == {p.name for p in (tmp_path / "c").glob("*.fits")}
    for product in products:
        assert_same(tmp_path / "c" / product.path.name, product.path)


@pytest.mark.defect("shifts_without_line")
def test_shift_without_a_line(c_pipeline, sets, tmp_path):
    """C moves all wavelengths by the fit to noise; so does the compatible mode (by another fit to noise)."""
    need_c_recipe("muse_scibasic")
    frames = sets("two")
    options = LOW_ORDER | {"nifu": 5, "skylines": "5700.0", "saveimage": False}
    sof = write_sof(tmp_path / "set.sof", frames)
    c_pipeline.run("muse_scibasic", sof, tmp_path / "c", *option_text(options))
    loaded = load("muse_scibasic")
    right = dataclasses.replace(loaded, spec=dataclasses.replace(loaded.spec, defects=()))
    name, key = "PIXTABLE_OBJECT_0001-05.fits", "ESO QC SCIBASIC LAMBDA SHIFT"
    shifts = [fits.getval(tmp_path / "c" / name, key)]
    for folder, recipe in (("compat", loaded), ("right", right)):
        (tmp_path / folder).mkdir()
        run_recipe(recipe, frames, options, workdir=tmp_path / folder, threads=2)
        shifts.append(fits.getval(tmp_path / folder / name, key))
    assert abs(shifts[0]) > 0.01
    assert abs(shifts[1]) > 0.01
    assert shifts[2] == 0


@pytest.mark.defect("combines_all_tags")
@pytest.mark.parametrize("tags", [("OBJECT", "OBJECT"), ("OBJECT", "STD")])
def test_combination_of_several_kinds(c_pipeline, tmp_path, tags):
    """C averages the lamp flat with the exposures, whatever their tags; by default each kind is its own."""
    need_c_recipe("muse_scibasic")
    setup = RawSetup(nx=144, ny=60, ifus=(4,), lambda_min=4600.0, lambda_max=9400.0)
    made = simulate_raw_science(
        tmp_path / "set", setup, n_stars=2, skyflats=0, calibrations=False, exposures=2, illum=True
    )
    remaining = list(tags)
    frames = [(path, remaining.pop(0) if tag == "OBJECT" else tag) for path, tag in made.raw]
    options = LOW_ORDER | {"nifu": 4, "combine": "average", "scale": False, "skylines": "none"}
    sof = write_sof(tmp_path / "set.sof", frames)
    c_pipeline.run("muse_scibasic", sof, tmp_path / "c", *option_text(options))
    for name, compat in (("compat", True), ("ours", False)):
        (tmp_path / name).mkdir()
        run_recipe("muse_scibasic", frames, options | {"compat": compat}, workdir=tmp_path / name, threads=2)
    kept = sorted(path.name for path in (tmp_path / "c").glob("*.fits"))
    assert kept == sorted(path.name for path in (tmp_path / "compat").glob("*.fits"))
    for name in kept:
        assert_same(tmp_path / "c" / name, tmp_path / "compat" / name, "REC1 RAW", "DATANCOM")
    expected = {f"PIXTABLE_{tag}_0001-04.fits" for tag in tags}
    assert {path.name for path in (tmp_path / "ours").glob("PIXTABLE*")} == expected
    level = [
        np.median(fits.getdata(tmp_path / folder / "PIXTABLE_OBJECT_0001-04.fits", "data"))
        for folder in ("c", "ours")
    ]
    assert level[0] > 5 * level[1]  # the lamp is that much brighter
