# SPDX-License-Identifier: BSD-3-Clause
"""The recipe as a whole: products and laws."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from muse_core.framework import run_recipe
from muse_core.simulate.raw import RawSetup, simulate_raw
from muse_core.simulate.raw_truth import check_truth
from muse_core.twilight import steps
from tests.twilight.conftest import TINY, frames_of
from tests.twilight.recipe_runs import OPTIONS, data_of, keywords, run


@pytest.mark.unit
def test_products_are_complete(tiny_products):
    cube, model = tiny_products["DATACUBE_SKYFLAT"], tiny_products["TWILIGHT_CUBE"]
    with fits.open(cube, checksum=True) as hdus:
        assert [h.header.get("EXTNAME") for h in hdus] == [None, "DATA", "STAT", "white"]
        head = hdus[0].header
        assert head["ESO PRO CATG"] == "DATACUBE_SKYFLAT"
        assert head["ESO PRO DATANCOM"] == 4
        assert head["ESO PRO SCIENCE"] is False
        assert head["ESO PRO REC1 PARAM24 NAME"] == "vignnfmmask"
        assert head["ESO QC TWILIGHT2 INPUT3 NSATURATED"] == 0
        assert not any("PRSC" in k or "OVSC" in k for k in head)
    with fits.open(model, checksum=True) as hdus:
        assert [h.header.get("EXTNAME") for h in hdus][1:] == [
            "DATA",
            "white_global_fit",
            "white_div_global",
            "white_div_global_DQ",
        ]
        assert np.isfinite(hdus["DATA"].data).all()
        flags = {k.removeprefix("ESO QC TWILIGHT "): v for k, v in hdus[0].header.items() if "ESO QC" in k}
        assert set(flags) == {"COMPLETE", "CORRECTED DARK", "CORRECTED ILLUM", "CORRECTED VIGNETTING"}
        assert flags["COMPLETE"] is True
        assert hdus["DATA"].data.mean(axis=(1, 2)) == pytest.approx(1, abs=0.02)


@pytest.mark.law
def test_threads_and_memory_do_not_matter(tiny, tmp_path, monkeypatch):
    first = run(frames_of(tiny), tmp_path, threads=1)
    reference = [data_of(p) for p in first.values()]
    words = keywords(first["DATACUBE_SKYFLAT"])
    monkeypatch.setenv("MUSE_RECIPES_MEMORY", "1")
    second = run(frames_of(tiny), tmp_path, threads=3)
    assert keywords(second["DATACUBE_SKYFLAT"]) == words
    for before, path in zip(reference, second.values(), strict=True):
        after = data_of(path)
        assert all(np.array_equal(before[k], after[k], equal_nan=True) for k in before)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["DATACUBE_SKYFLAT.fits", "TWILIGHT_CUBE.fits"]


@pytest.mark.law
def test_one_file_per_ifu_is_the_same_as_merged(tiny, tmp_path):
    single = tmp_path / "single"
    simulate_raw(single, TINY, merged=False)
    out = tmp_path / "a", tmp_path / "b"
    for folder in out:
        folder.mkdir()
    a, b = run(frames_of(tiny), out[0]), run(frames_of(single), out[1])
    for tag in a:
        first, second = data_of(a[tag]), data_of(b[tag])
        assert all(np.array_equal(first[k], second[k], equal_nan=True) for k in first)
        assert keywords(a[tag]) == keywords(b[tag])


@pytest.mark.law
def test_illumination_is_recovered(tmp_path):
    setup = RawSetup(nx=256, ny=160, ifus=tuple(range(1, 9)), seed=7)
    simulate_raw(tmp_path / "set", setup)
    products = run(frames_of(tmp_path / "set"), tmp_path, dlambda=250.0)
    check = check_truth(products["TWILIGHT_CUBE"], setup)
    # required is 0.2 % rms; with few detector rows the ends of the wavelength range alone cost 0.15 %
    assert check.field < 0.002
    assert check.edge < 0.0025


@pytest.mark.unit
@pytest.mark.parametrize("mode", ["WFM-NOAO-N", "NFM-AO-N"])
def test_vignetted_field_comes_back(tmp_path, monkeypatch, mode):
    """The levels of the IFUs are right although some are vignetted; the C pipeline's are not (compat)."""
    ifus = tuple(range(1, 9)) if mode.startswith("WFM") else tuple(range(17, 25))
    setup = RawSetup(nx=384, ny=96, ifus=ifus, mode=mode, vignetting=0.3)
    simulate_raw(tmp_path / "set", setup)
    checks, words = [], []
    narrow = mode.startswith("NFM")
    for compat in (False,) if narrow else (False, True):  # with compat nothing goes without IFU 1
        monkeypatch.setenv("MUSE_RECIPES_COMPAT", "1" if compat else "0")
        folder = tmp_path / f"compat_{compat}"
        folder.mkdir()
        products = run(frames_of(tmp_path / "set"), folder)
        checks.append(check_truth(products["TWILIGHT_CUBE"], setup))
        words.append({tag: keywords(path) for tag, path in products.items()})
        assert np.ptp(data_of(products["TWILIGHT_CUBE"])["vign_fit"]) > 0.15
    right, as_c = checks[0], checks[-1]
    assert right.field < 0.002  # required of real detectors; small ones have fewer pixels to average
    assert right.edge < 0.0025
    assert right.vignetted < 0.008
    sky = [[w["TWILIGHT_CUBE"][f"ESO DRS MUSE FLAT FLUX SKY{i}"] for i in ifus] for w in words]
    measured = [words[0]["DATACUBE_SKYFLAT"][f"ESO QC TWILIGHT{i} INTFLUX"] for i in ifus]
    assert np.abs(np.divide(sky[0], measured) - 1).max() > 0.002
    if narrow:
        assert measured[-1] == measured[-2]
        assert sky[0][-1] != sky[0][-2]
    else:
        assert as_c.field > 1.5 * right.field
        assert as_c.vignetted > 1.1 * right.vignetted
        assert np.allclose(sky[1], measured, rtol=1e-6)


@pytest.mark.law
@pytest.mark.parametrize(
    ("ny", "ifus", "options", "right", "as_c"),
    [
        # slices of different widths and wavelength steps do not make an IFU brighter
        pytest.param(64, 8, {"size_scatter": 0.01}, 0.0025, 0.008, id="sizes"),
        # the flux of an IFU whose slices leave the detector is that of fewer pixels
        pytest.param(96, 6, {"slice_fill": 0.92}, 0.002, 0.006, id="lost rows"),
        pytest.param(64, 3, {"size_scatter": 0.01}, 0.002, 0.008, id="three IFUs"),
    ],
)
def test_levels_do_not_count_pixels(tmp_path, monkeypatch, ny, ifus, options, right, as_c):
    """The level of an IFU does not depend on how many pixels see the sky (compat: as C, it does)."""
    setup = RawSetup(nx=256, ny=ny, ifus=tuple(range(1, ifus + 1)), **options)
    simulate_raw(tmp_path / "set", setup)
    checks = []
    for compat in ("0", "1"):
        monkeypatch.setenv("MUSE_RECIPES_COMPAT", compat)
        (tmp_path / compat).mkdir()
        products = run(frames_of(tmp_path / "set"), tmp_path / compat)
        checks.append(check_truth(products["TWILIGHT_CUBE"], setup))
    assert checks[0].field < right
    assert checks[1].field > as_c


@pytest.mark.unit
def test_few_ifus_keep_the_mean_flux_of_their_pixels(tiny, tmp_path, monkeypatch):
    """With three IFUs a smooth model bends along with wrong levels: they are not taken from it."""

    def never(*_args, **_kwargs):
        raise AssertionError

    monkeypatch.setattr(steps, "fit_levels", never)
    words = [keywords(path) for path in run(frames_of(tiny), tmp_path).values()]
    known = words[0] | words[1]
    ratio = np.array(
        [known[f"ESO DRS MUSE FLAT FLUX SKY{i}"] / known[f"ESO QC TWILIGHT{i} INTFLUX"] for i in (1, 2, 3)]
    )
    assert ratio[0] == pytest.approx(1.0, rel=1e-6)
    assert 0.01 < np.abs(ratio - 1.0).max() < 0.1  # slices of IFU 2 and 3 leave the detector


@pytest.mark.unit
def test_fluxes_of_pixels():
    parts = {
        n: SimpleNamespace(stored=SimpleNamespace(flux=f, rows=r))
        for n, f, r in ((2, 50.0, 100), (3, 60.0, 120))
    }
    assert steps.fluxes_of_pixels(parts, {2: 50.0, 3: 60.0}) == {2: 50.0, 3: 50.0}
    parts[4] = SimpleNamespace(stored=SimpleNamespace(flux=1.0, rows=7))
    assert steps.fluxes_of_pixels(parts, {2: 50.0, 3: 60.0, 4: 60.0})[4] == 50.0  # the flux of its neighbour


@pytest.mark.unit
def test_report_is_written(tiny, tmp_path):
    run_recipe("muse_twilight", frames_of(tiny), OPTIONS, workdir=tmp_path, threads=2, report=True)
    text = (tmp_path / "muse_twilight_report.html").read_text()
    assert "data:image/png" in text
    assert "<td>3</td>" in text
