# SPDX-License-Identifier: BSD-3-Clause
"""muse_bias: windows, noise, columns, and the recipe on simulated frames with their truth."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.io import fits

from muse_core.detector.quadrants import Quadrant
from muse_core.framework import InputError, RecipeError, run_recipe
from muse_core.masters.bad_columns import DQ_BAD_COLUMN, flag_bad_columns
from muse_core.masters.bias import integer_median, slopes
from muse_core.masters.sampling import LibraryRandom, seeded_centres, window_means
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.raw_masters import simulate_masters

SETUP = RawSetup(seed=3, nx=128, ny=64, ifus=(1, 2), saturated=1e-4)


@pytest.fixture(scope="module")
def frames(tmp_path_factory):
    made = simulate_masters(tmp_path_factory.mktemp("bias"), SETUP, darks=(), flats=())
    return made.frames("BIAS", "BADPIX_TABLE")


def settings(**changes):
    return {"ovscreject": "none", "overscan": "vpoly:3"} | changes


def test_random_numbers_are_those_of_the_c_library():
    numbers = LibraryRandom(1)
    # published: the first numbers of rand() without srand(), GNU C library
    assert [numbers.next() for _ in range(5)] == [1804289383, 846930886, 1681692777, 1714636915, 1957747793]


def test_windows_are_apart_and_inside():
    zone = (129, 256, 65, 128)
    centres = seeded_centres(zone, 100, 101)
    assert centres.shape == (100, 2)
    assert (centres >= (139, 75)).all() and (centres <= (246, 118)).all()
    apart = ((centres[:, None] - centres[None]) ** 2).sum(axis=2)
    # truncation to whole pixels moves two centres by up to a pixel in each axis
    least = np.sqrt(np.sqrt(0.5) * 107 * 43 / 102) - np.sqrt(2)
    assert np.sqrt(apart[~np.eye(100, dtype=bool)]).min() >= least


def test_window_means_leave_flags_out():
    data, dq = np.arange(100, dtype=np.float32).reshape(10, 10), np.zeros((10, 10), np.int32)
    dq[4, 4] = 1
    means = window_means(data, dq, np.array([[5, 5], [2, 2]]), 1)
    assert means == pytest.approx([(9 * 44 - 44) / 8, 11.0])


def test_integer_median():
    rng = np.random.default_rng(1)
    for size in (1, 2, 7, 100):
        values = rng.integers(0, 65536, size).astype(np.uint16)
        assert integer_median(values) == np.median(values)


def test_slopes():
    y, x = np.mgrid[:30, :40]
    assert slopes((0.5 * x - 0.25 * y).astype(np.float32)) == pytest.approx((0.5, -0.25), abs=1e-6)


def test_bad_columns():
    quadrant = Quadrant(1, False, False, 50, 40, (32, 32), (32, 32), (208, 228), 1.1, 3.0)
    rng = np.random.default_rng(5)
    data = rng.normal(0, 0.5, (80, 100)).astype(np.float32)
    data[10:20, 7] += 40 + 5 * rng.standard_normal(10)
    data[:, 9] += 3  # of constant level: no bad one
    data[5:30, 11] -= 60
    dq = np.zeros((80, 100), np.int32)
    found = flag_bad_columns(data, dq, [quadrant], {1: 3.0}, (5.0, 3.0))
    assert found == np.count_nonzero(dq) == 10 + 25
    assert (dq[10:20, 7] == DQ_BAD_COLUMN).all() and (dq[5:30, 11] == DQ_BAD_COLUMN).all()


def test_recipe_finds_level_and_noise(frames, tmp_path):
    products = run_recipe("muse_bias", frames, settings(), workdir=tmp_path, threads=2, report=True)
    assert [p.path.name for p in products] == ["MASTER_BIAS-01.fits", "MASTER_BIAS-02.fits"]
    header = fits.getheader(products[0].path)
    for port in (1, 2, 3, 4):
        # half a per cent from the number of pixels, more from columns that flicker
        assert header[f"ESO QC BIAS MASTER{port} RON"] == pytest.approx(SETUP.ron[port - 1], rel=0.05)
        # the raw level of a quadrant; half an adu of structure
        assert header[f"ESO QC BIAS LEVEL{port} MEDIAN"] == pytest.approx(SETUP.bias[port - 1], abs=3)
    assert header["ESO QC BIAS MASTER NBADPIX"] > 50
    assert "ESO QC BIAS COMPLETE" not in header
    page = (tmp_path / "muse_bias_report.html").read_text()
    assert "read-out noise" in page and "2 IFUs from 5 bias frames" in page


def test_one_file_for_all(frames, tmp_path):
    run_recipe("muse_bias", frames, settings(merge=True), workdir=tmp_path)
    run_recipe("muse_bias", frames, settings(nifu=2), workdir=tmp_path)
    with (
        fits.open(tmp_path / "MASTER_BIAS.fits") as merged,
        fits.open(tmp_path / "MASTER_BIAS-02.fits") as own,
    ):
        assert [hdu.name for hdu in merged][1:] == [
            f"CHAN0{i}.{n}" for i in (1, 2) for n in ("DATA", "DQ", "STAT")
        ]
        for name in ("DATA", "DQ", "STAT"):
            assert np.array_equal(merged[f"CHAN02.{name}"].data, own[name].data)
        key = "ESO QC BIAS MASTER1 RON"
        assert key not in merged[0].header and merged["CHAN02.DQ"].header[key] == own[0].header[key]
        assert merged[0].header["ESO QC BIAS COMPLETE"] is True


def test_levels_are_brought_together(frames, tmp_path):
    """``overscan=offset``: the scatter of the master is that of noise, whatever the drift of the frames."""
    run_recipe("muse_bias", frames, settings(overscan="offset", nifu=1), workdir=tmp_path)
    with fits.open(tmp_path / "MASTER_BIAS-01.fits") as hdus:
        first = fits.getdata(frames[0][0], 1)[32:96, 32:160]
        first = first[first < 60000].mean()
        # 0.3 adu from frame to frame; the noise of the mean of a quadrant is 0.03
        assert np.mean(hdus["DATA"].data[:64, :128]) == pytest.approx(first, abs=0.1)


def test_frame_of_another_level_is_refused(frames, tmp_path):
    path = tmp_path / "high.fits"
    with fits.open(frames[1][0]) as hdus:
        data = hdus[1].data.astype(np.int32) + 400
        hdus[1].data = data.astype(np.uint16)
        hdus.writeto(path)
    changed = [frames[0], (path, "BIAS"), *frames[2:]]
    with pytest.raises(RecipeError, match=r"overscan level of quadrant 1: expected .* found"):
        run_recipe("muse_bias", changed, settings(overscan="none", nifu=1), workdir=tmp_path)
    products = run_recipe("muse_bias", changed, settings(overscan="none"), workdir=tmp_path)
    assert [p.path.name for p in products] == ["MASTER_BIAS-02.fits"] and not products[0].complete


def test_frame_of_another_setup_is_left_out(frames, tmp_path, caplog):
    path = tmp_path / "other.fits"
    with fits.open(frames[1][0]) as hdus:
        hdus[1].header["ESO DET CHIP ID"] = "another"
        hdus.writeto(path)
    with caplog.at_level(logging.WARNING):
        run_recipe("muse_bias", [frames[0], (path, "BIAS"), *frames[2:]], settings(), workdir=tmp_path)
    headers = [fits.getheader(tmp_path / f"MASTER_BIAS-0{i}.fits") for i in (1, 2)]
    assert [h["ESO PRO DATANCOM"] for h in headers] == [4, 5]
    few = [frames[0], (path, "BIAS"), frames[2]]
    with pytest.raises(RecipeError, match="2 usable exposures BIAS, 3 are needed"):
        run_recipe("muse_bias", few, settings(nifu=1), workdir=tmp_path)


def test_too_few_frames_and_no_channel(frames, tmp_path):
    with pytest.raises(InputError, match="BIAS"):
        run_recipe("muse_bias", frames[:2], {}, workdir=tmp_path)
    with pytest.raises(InputError, match=r"expected CHAN07 \(nifu=7\), found CHAN01, CHAN02"):
        run_recipe("muse_bias", frames, {"nifu": 7}, workdir=tmp_path)
    assert not list(tmp_path.glob("MASTER*"))


def test_same_bits_for_any_threads(frames, tmp_path):
    for threads in (1, 2):
        folder = tmp_path / str(threads)
        folder.mkdir()
        run_recipe("muse_bias", frames, settings(), workdir=folder, threads=threads)
    one, two = (fits.open(tmp_path / n / "MASTER_BIAS-02.fits") for n in ("1", "2"))
    with one, two:
        assert all(np.array_equal(a.data, b.data) for a, b in zip(one[1:], two[1:], strict=True))


def test_a_frame_that_is_no_bias_is_told_by_its_noise(frames, tmp_path, caplog):
    changed = []
    for source, tag in frames:
        path = tmp_path / source.name
        with fits.open(source) as hdus:
            if tag == "BIAS" and not changed:
                hdus["CHAN01"].data[10:40] ^= 0x2020
            hdus.writeto(path)
        changed.append((path, tag))
    run_recipe("muse_bias", changed, settings(nifu=1), workdir=tmp_path)
    assert "count in quadrant 1" in caplog.text
    assert "quadrant 4" not in caplog.text
