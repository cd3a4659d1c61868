# SPDX-License-Identifier: BSD-3-Clause
"""Line-spread functions: profiles, averages, folding, and all layouts of the files."""

import math

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import broken
from muse_core.data.slices import slice_key
from muse_core.framework import InputError
from muse_core.postproc.lsf.gauss_hermite import fill_profiles, profile_terms
from muse_core.postproc.lsf.images import (
    LsfImage,
    average_image,
    average_lsf,
    fold_with_box,
    pad_samples,
)
from muse_core.postproc.lsf.load import check_lsf_covers, load_lsf
from muse_core.postproc.lsf.profile_kernels import hermite_profile
from muse_core.postproc.lsf.tables import LsfTable

pytestmark = [pytest.mark.unit, pytest.mark.kernel]
X_FIRST, X_STEP, LAM_FIRST, LAM_STEP = -7.0, 0.2, 4650.0, 500.0
CARDS = {
    "CRPIX1": 1.0,
    "CRVAL1": X_FIRST,
    "CD1_1": X_STEP,
    "CRPIX2": 1.0,
    "CRVAL2": LAM_FIRST,
    "CD2_2": LAM_STEP,
}


def cube(seed=1, n_lam=9, n_x=71):
    """An LSF cube, lopsided, off-centre, not normalised, with wings that do not vanish."""
    x = X_FIRST + np.arange(n_x) * X_STEP
    rng = np.random.default_rng(seed)
    width = rng.uniform(1.0, 1.3, (48, n_lam, 1))
    shape = np.exp(-0.5 * ((x - 0.15) / width) ** 2) * (1 + 0.1 * x / 7) + 0.002 * rng.random(
        (48, n_lam, n_x)
    )
    return (shape * rng.uniform(0.5, 2.0, (48, n_lam, 1))).astype(np.float32)


def one_ifu(data, ifu=10):
    row = np.full(1152, -1, np.int32)
    row[slice_key(ifu, 1) : slice_key(ifu, 48) + 1] = np.arange(48)
    return LsfImage(pad_samples(data), X_FIRST, X_STEP, LAM_FIRST, LAM_STEP, row)


def plain_profile(data, slice_number, lam, x):
    """The slow twin of `LsfImage.profile`, written from the description."""
    place = np.clip((lam - LAM_FIRST) / LAM_STEP, 0, data.shape[1] - 1)
    k = min(int(place), data.shape[1] - 2)
    image = data[slice_number - 1].astype(float)
    row = (1 - (place - k)) * image[k] + (place - k) * image[k + 1]
    grid = X_FIRST + np.arange(row.size) * X_STEP
    centre = (row * grid).sum() / row.sum()
    row = row / (row.sum() * X_STEP)
    nodes = np.concatenate([[grid[0] - X_STEP], grid, [grid[-1] + X_STEP]]) - centre
    return np.interp(x, nodes, np.concatenate([[0], row, [0]]), left=0, right=0)


@pytest.mark.parametrize("lam", [4000.0, 4650.0, 5777.7, 8650.0, 9900.0])
def test_profile_of_an_image(lam):
    data = cube()
    x = np.linspace(-8, 8, 901)
    ours = one_ifu(data).profile(slice_key(10, 7), lam, x)
    np.testing.assert_allclose(ours, plain_profile(data, 7, lam, x), atol=1e-14)


@pytest.mark.law
def test_profile_has_unit_integral_and_no_offset():
    lsf = one_ifu(cube())
    x = np.linspace(-8, 8, 160001)
    p = lsf.profile(slice_key(10, 20), 7012.3, x)
    assert np.trapezoid(p, x) == pytest.approx(1.0, abs=2e-4)  # wings are cut at the last sample
    samples = X_FIRST - 0.15 + np.arange(-5, 80) * X_STEP
    assert (lsf.profile(slice_key(11, 20), 7012.3, samples) == 0).all()  # no profile for this IFU


def test_average_is_weighted_with_rows():
    data, rows = cube(), np.zeros(1152, np.int64)
    rows[slice_key(10, 3)], rows[slice_key(10, 40)], rows[slice_key(12, 1)] = 300, 100, 5000
    mean = average_image(one_ifu(data), rows)[:, 1:-1]
    np.testing.assert_allclose(mean, (3 * data[2].astype(float) + data[39]) / 4, rtol=1e-12)


@pytest.mark.parametrize("width", [0.3, 1.0, 1.56, 2.9, 3.1, 12.4])
def test_folding_with_a_box(width):
    row = np.random.default_rng(3).random(31)
    n = math.floor((width - 1) / 2) if width >= 1 else 0
    kernel = dict.fromkeys(range(-n, n + 1), 1.0)
    if width >= 1:
        kernel[n + 1] = kernel[-n - 1] = (width - 1) / 2 - n
    expected = []
    for i in range(31):
        inside = {k: w for k, w in kernel.items() if 0 <= i + k < 31}
        expected.append(sum(w * row[i + k] for k, w in inside.items()) / sum(inside.values()))
    np.testing.assert_allclose(fold_with_box(row[np.newaxis], width)[0], expected, rtol=1e-12)


def test_average_profile_for_the_fit_keeps_the_grid():
    rows = np.zeros(1152, np.int64)
    rows[slice_key(10, 3)] = 1
    mean = average_lsf(one_ifu(cube()), rows, 0.3125)
    assert mean.grid() == (X_FIRST, X_STEP, LAM_FIRST, LAM_STEP)
    assert mean.reach == (pytest.approx(-7.0), pytest.approx(7.0))


# ------------------------------------------------------------ Gauss-Hermite flavour
def test_hermite_profile_integrates_to_one_and_is_the_folded_gaussian():
    x = np.linspace(-12, 12, 4801)
    p = np.array([hermite_profile(v, 1.3, 0.62, 1.05, 0.02, -0.03, 0.01, -0.01) for v in x])
    assert np.trapezoid(p, x) == pytest.approx(1.0, abs=1e-9)
    gauss = np.array([hermite_profile(v, 1.3, 0.62, 1.05, 0, 0, 0, 0) for v in x])
    fine = np.linspace(-14, 14, 28001)
    step = fine[1] - fine[0]
    expected = np.exp(-0.5 * (fine / 1.05) ** 2) / (1.05 * math.sqrt(2 * math.pi))
    for half in (1.3, 0.62):
        total = np.concatenate([[0.0], np.cumsum(0.5 * (expected[1:] + expected[:-1])) * step])
        upper, lower = np.interp(fine + half, fine, total), np.interp(fine - half, fine, total)
        expected = (upper - lower) / (2 * half)
    np.testing.assert_allclose(gauss, np.interp(x, fine, expected), atol=1e-6)


def profile_at(x, terms):
    value = np.empty(1)
    fill_profiles(np.array([x]), 1, terms, value)
    return value[0]


def test_profiles_for_rows_are_those_of_the_formula():
    rng = np.random.default_rng(3)
    x = np.append(rng.uniform(-20, 20, 4000), [0.0, 1e3, -1e3])
    p = np.empty((x.size, 7))
    p[:, 0], p[:, 1], p[:, 2] = 1.305, rng.uniform(0.4, 0.8, x.size), rng.uniform(0.3, 3.0, x.size)
    p[:, 3:] = rng.normal(0, 0.1, (x.size, 4))
    terms = profile_terms(p)
    fast = np.array([profile_at(v, row) for v, row in zip(x, terms)])
    exact = np.array([hermite_profile(v, *row) for v, row in zip(x, p)])
    np.testing.assert_allclose(fast, exact, rtol=0, atol=5e-13)  # differences of numbers up to 1000
    near = np.abs(x) < 20
    np.testing.assert_allclose(fast[near], exact[near], rtol=0, atol=5e-13)  # widths from 0.3 Angstrom
    assert np.isnan(profile_at(np.nan, terms[0]))


def parameters(n=48):
    rng = np.random.default_rng(8)
    return {
        "ifu": np.full(n, 10, np.int32),
        "slice": np.arange(1, n + 1, dtype=np.int32),
        "sensitivity": np.ones(n),
        "offset": np.zeros(n),
        "refraction": np.ones(n),
        "slit_width": rng.uniform(2.2, 2.6, n),
        "bin_width": rng.uniform(1.2, 1.3, n),
        "lsf_width": np.stack([rng.uniform(0.7, 0.9, n), np.full(n, 2e-5), np.full(n, 1e-9)], axis=1),
        "hermit3": np.stack([rng.normal(0, 0.03, n), np.full(n, 1e-5)], axis=1),
        "hermit4": np.stack([rng.normal(0, 0.03, n), np.full(n, 1e-5)], axis=1),
        "hermit5": rng.normal(0, 0.01, n),
        "hermit6": rng.normal(0, 0.01, n),
    }


def table_hdu(values, name="SLICE_PARAM", without=()):
    columns = []
    for key, array in values.items():
        if key not in without:
            form = "J" if array.dtype == np.int32 else "D" if array.ndim == 1 else f"{array.shape[1]}D"
            columns.append(fits.Column(key, form, array=array))
    return fits.BinTableHDU.from_columns(columns, name=name)


def image_hdu(data, name="LSF_PROFILE", **changes):
    hdu = fits.ImageHDU(data, name=name)
    hdu.header.update({**CARDS, **changes})
    return hdu


def primary(name=None):
    hdu = fits.PrimaryHDU()
    if name:
        hdu.header["EXTNAME"] = name
    return hdu


def write(path, *hdus):
    fits.HDUList(list(hdus)).writeto(path)
    return path


def test_table_layouts(tmp_path):
    ten = parameters()
    twelve = {**parameters(), "ifu": np.full(48, 12, np.int32)}
    both = {key: np.concatenate([ten[key], twelve[key]]) for key in ten}
    layouts = {
        "one file": [write(tmp_path / "a.fits", primary(), table_hdu(both))],
        "two files": [
            write(tmp_path / "b.fits", primary(), table_hdu(ten)),
            write(tmp_path / "c.fits", primary(), table_hdu(twelve)),
        ],
        "extensions": [
            write(
                tmp_path / "d.fits", primary(), table_hdu(ten, "CHAN10.SLICE_PARAM", ("ifu",)),
                table_hdu(twelve, "CHAN12.SLICE_PARAM"),
            )
        ],
    }  # fmt: skip
    for files in layouts.values():
        lsf = load_lsf(files)
        assert isinstance(lsf, LsfTable)
        assert lsf.ifus == (10, 12)
        d = 8000.0 - 7000.0
        values = lsf.parameters([8000.0])[lsf.row[slice_key(12, 5)], 0]
        w = ten["lsf_width"][4]
        assert values[2] == pytest.approx(w[0] + w[1] * d + w[2] * d * d, rel=1e-14)
        assert values[3] == pytest.approx(ten["hermit3"][4, 0] + 1e-5 * d, rel=1e-14)
        assert values[5] == pytest.approx(ten["hermit5"][4], rel=1e-14)
        assert lsf.profile(slice_key(12, 5), 8000.0, 0.0) > 0.1
        assert lsf.profile(slice_key(11, 5), 8000.0, 0.0) == 0.0


def test_image_layouts(tmp_path):
    ten, twelve = cube(1), cube(2)
    separate = [
        write(tmp_path / "a.fits", primary("CHAN10"), image_hdu(ten)),
        write(tmp_path / "b.fits", primary("CHAN12"), image_hdu(twelve)),
    ]
    merged = write(
        tmp_path / "c.fits", primary(), image_hdu(ten, "CHAN10.LSF_PROFILE"),
        image_hdu(twelve, "CHAN12.LSF_PROFILE"),
    )  # fmt: skip
    x = np.linspace(-7, 7, 50)
    for files in (separate, separate[::-1], [merged]):
        lsf = load_lsf(files)
        assert lsf.ifus == (10, 12)
        np.testing.assert_allclose(
            lsf.profile(slice_key(12, 9), 6543.2, x), plain_profile(twelve, 9, 6543.2, x), atol=1e-14
        )


def test_images_win_over_tables(tmp_path):
    files = [
        write(tmp_path / "a.fits", primary(), table_hdu(parameters())),
        write(tmp_path / "b.fits", primary("CHAN12"), image_hdu(cube())),
    ]
    assert isinstance(load_lsf(files), LsfImage)


def test_of_two_profiles_of_a_slice_the_first_counts_and_the_other_is_told(tmp_path):
    wide = {**parameters(), "lsf_width": 1.5 * parameters()["lsf_width"]}
    pairs = {
        "image": [(primary("CHAN12"), image_hdu(cube(seed))) for seed in (1, 2)],
        "table": [(primary(), table_hdu(values)) for values in (parameters(), wide)],
    }
    x = np.linspace(-2.0, 2.0, 9)
    for kind, pair in pairs.items():
        files = [write(tmp_path / f"{kind}{n}.fits", *hdus) for n, hdus in enumerate(pair)]
        alone, both = load_lsf(files[:1]), load_lsf(files)
        key = int(np.flatnonzero(alone.row >= 0)[0])
        np.testing.assert_array_equal(both.profile(key, 6500.0, x), alone.profile(key, 6500.0, x))
        rules = INPUT_RULES["LSF_PROFILE"]
        new = [
            told for told in broken(rules, both.values()) if told not in list(broken(rules, alone.values()))
        ]
        assert [found.partition(":")[0] for _, found in new] == [f"IFU {alone.ifus[0]} again"]
        assert not new[0][0].is_error


@pytest.mark.parametrize(
    ("hdus", "message"),
    [
        (lambda: (primary(), table_hdu(parameters(), "SLICE_PARAMS")), "tables SLICE_PARAM"),
        (lambda: (primary(), table_hdu(parameters(), without=("lsf_width",))), "columns lsf_width"),
        (lambda: (primary(), table_hdu({**parameters(), "slit_width": np.zeros(48)})), "positive widths"),
        (
            lambda: (primary(), table_hdu({**parameters(), "bin_width": np.full(48, 1e300)})),
            "positive widths",
        ),
        (
            lambda: (primary(), table_hdu({**parameters(), "ifu": np.full(48, 31, np.int32)})),
            "expected 1..24 and 1..48",
        ),
        *(
            (
                lambda name=name, value=value: (
                    primary(),
                    table_hdu({**parameters(), name: np.full_like(parameters()[name], value)}),
                ),
                f"columns? {name}",
            )
            for name in ("lsf_width", "hermit3", "hermit6")
            for value in (np.nan, 1e300, -1e300)
        ),
        (lambda: (primary(), image_hdu(cube())), "CHAN01 .. CHAN24"),
        (lambda: (primary("CHAN10"), image_hdu(cube()[:20])), "48 slices"),
        (lambda: (primary("CHAN10"), image_hdu(np.full_like(cube(), np.nan))), "finite numbers"),
        (lambda: (primary("CHAN10"), image_hdu(cube(), CD1_1=0.0)), "the step positive"),
        (lambda: (primary("CHAN10"), image_hdu(cube(), CRPIX2="first")), "CRPIX2: expected numbers"),
        (lambda: (primary("CHAN10"), image_hdu(cube(), CRPIX1=None)), "CRPIX1: expected numbers"),
        (lambda: (primary("CHAN10"),), "image extensions LSF_PROFILE"),
    ],
)
def test_bad_profiles(tmp_path, hdus, message):
    path = write(tmp_path / "bad.fits", *hdus())
    with pytest.raises(InputError, match=message):
        load_lsf([path])


def test_unreadable_and_missing_files(tmp_path):
    (tmp_path / "x.fits").write_bytes(b"nothing")
    with pytest.raises(InputError, match="a readable FITS file"):
        load_lsf([tmp_path / "x.fits"])
    with pytest.raises(InputError, match="one or more files"):
        load_lsf([])


def test_profiles_of_different_grids_are_refused(tmp_path):
    files = [
        write(tmp_path / "a.fits", primary("CHAN10"), image_hdu(cube())),
        write(tmp_path / "b.fits", primary("CHAN12"), image_hdu(cube(), CRVAL1=-6.0)),
    ]
    with pytest.raises(InputError, match="grid"):
        load_lsf(files)


def test_missing_slices_are_named():
    lsf, rows = one_ifu(cube()), np.zeros(1152, np.int64)
    rows[slice_key(10, 4)] = 7
    check_lsf_covers(lsf, rows)
    rows[slice_key(13, 4)] = 7
    with pytest.raises(InputError, match="none for IFU 13"):
        check_lsf_covers(lsf, rows, ["some/LSF_PROFILE-10.fits"])
    lsf.row[slice_key(10, 4)] = -1
    rows[slice_key(13, 4)] = 0
    with pytest.raises(InputError, match=r"slice\(s\) 4 of IFU 10"):
        check_lsf_covers(lsf, rows)


def test_empty_profiles_count_as_missing():
    values = cube()
    values[1] = 0.0
    lsf, rows = one_ifu(values), np.zeros(1152, np.int64)
    rows[slice_key(10, 1)] = 9
    check_lsf_covers(lsf, rows)
    rows[slice_key(10, 2)] = 9
    with pytest.raises(InputError, match=r"slice\(s\) 2 of IFU 10"):
        check_lsf_covers(lsf, rows)
