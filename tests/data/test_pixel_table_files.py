# SPDX-License-Identifier: BSD-3-Clause
"""Pixel-table files that are damaged: told before a kernel sees a length; changes are drawn with seeds."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data.exposure import Exposure
from muse_core.data.pixtable import COLUMNS, INTEGER_COLUMNS, open_pixtable
from muse_core.data.row_weights import RowWeights
from muse_core.framework import InputError

pytestmark = pytest.mark.unit
ROWS = 500


def column(name, rows=ROWS):
    kind = np.int32 if name in INTEGER_COLUMNS else np.float32
    if name == "lambda":
        return np.linspace(4800, 9200, rows).astype(kind)
    if name == "origin":
        return np.full(rows, (3 << 6) | 7, kind)
    return np.arange(rows).astype(kind)


def written(path, columns, *, as_table=False):
    primary = fits.PrimaryHDU()
    primary.header["HIERARCH ESO DRS MUSE PIXTABLE TYPE"] = "GEOFULL"
    primary.header["DATE-OBS"] = "2017-02-16T06:00:00"
    if as_table:
        parts = [
            fits.Column(name, "J" if v.dtype.kind == "i" else "E", array=v) for name, v in columns.items()
        ]
        hdus = [fits.BinTableHDU.from_columns(parts)]
    else:
        hdus = [fits.ImageHDU(v.reshape(-1, 1), name=name) for name, v in columns.items()]
        for hdu, name in zip(hdus, columns, strict=True):
            hdu.header["EXTNAME"] = name
    fits.HDUList([primary, *hdus]).writeto(path, overwrite=True)
    return path


@pytest.fixture(params=[False, True], ids=["images", "table"])
def layout(request):
    return request.param


@pytest.fixture
def columns():
    return {name: column(name) for name in (*COLUMNS, "weight")}


def test_weights_of_rows(tmp_path, columns, layout):
    table = open_pixtable(written(tmp_path / "a.fits", columns, as_table=layout))
    weights = RowWeights(table.path, *table.weights, table.rows)
    np.testing.assert_array_equal(weights.of(np.array([3, 499])), [3.0, 499.0])
    without = {name: column(name) for name in COLUMNS}
    assert open_pixtable(written(tmp_path / "b.fits", without, as_table=layout)).weights is None


@pytest.mark.parametrize("value", [np.nan, -1.0, np.inf])
def test_weights_that_are_none(tmp_path, columns, layout, value):
    columns["weight"][5] = value
    table = open_pixtable(written(tmp_path / "a.fits", columns, as_table=layout))
    weights = RowWeights(table.path, *table.weights, table.rows)
    weights.of(np.array([0, 1]))
    with pytest.raises(InputError, match=r"a\.fits: column weight: .* in row 6"):
        weights.of(np.arange(10))


def test_weights_of_another_kind_or_length(tmp_path, columns):
    path = tmp_path / "a.fits"
    for changed, words in (
        (columns["weight"].astype(np.int32), "column weight: expected one 32-bit float"),
        (columns["weight"].astype(np.float64), "column weight: expected one 32-bit float"),
        (columns["weight"][:-1], "equal lengths, found .*weight 499"),
        (np.repeat(columns["weight"], 2), "equal lengths, found .*weight 1000"),
    ):
        written(path, {**columns, "weight": changed})
        with pytest.raises(InputError, match=words):
            open_pixtable(path)
    written(path, columns)
    path.write_bytes(path.read_bytes()[: -(2880 - 2000 % 2880) - 100])
    with pytest.raises(InputError, match=r"column weight.*truncated"):
        open_pixtable(path)


def test_numbers_that_are_scaled(tmp_path, columns, layout):
    path = written(tmp_path / "a.fits", columns, as_table=layout)
    with fits.open(path) as hdus:
        hdus[1].header["TSCAL1" if layout else "BSCALE"] = 2.0
        raw = hdus[1].header.tostring()
    content = path.read_bytes()
    start = content.index(b"XTENSION")
    path.write_bytes(content[:start] + raw.encode() + content[start + len(raw) :])
    with pytest.raises(InputError, match="column xpos: expected numbers as they are, found scaled ones"):
        open_pixtable(path)


def test_columns_twice_and_in_both_layouts(tmp_path, columns):
    path = written(tmp_path / "a.fits", columns)
    table = written(tmp_path / "b.fits", {name: columns[name] for name in ("lambda", "data")}, as_table=True)
    with fits.open(path) as one, fits.open(table) as two:
        fits.HDUList([*one, one[1].copy()]).writeto(tmp_path / "twice.fits")
        rest = [hdu for hdu in one if hdu.name.lower() not in ("lambda", "data")]
        fits.HDUList([*rest, two[1].copy()]).writeto(tmp_path / "mixed.fits")
    with pytest.raises(InputError, match="two columns xpos"):
        open_pixtable(tmp_path / "twice.fits")
    with pytest.raises(InputError, match="some columns in a table, others"):
        open_pixtable(tmp_path / "mixed.fits")


@pytest.mark.parametrize("width", [0, 4, 20, 27, 1 << 40])
def test_length_of_a_row_that_is_not_that_of_its_columns(tmp_path, columns, width):
    path = written(tmp_path / "a.fits", columns, as_table=True)
    content = path.read_bytes()
    old, new = f"NAXIS1  = {32:>20}".encode(), f"NAXIS1  = {width:>20}".encode()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(InputError, match=r"extension 1: keyword NAXIS1: expected 32 bytes"):
        open_pixtable(path)


def test_rows_of_any_length_are_not_allocated(tmp_path, columns):
    wide = fits.Column("more", "2000E", array=np.zeros((ROWS, 2000), np.float32))
    path = written(tmp_path / "a.fits", columns, as_table=True)
    with fits.open(path) as hdus:
        table = fits.BinTableHDU.from_columns([*hdus[1].columns, wide])
        fits.HDUList([hdus[0], table]).writeto(tmp_path / "wide.fits")
    with pytest.raises(InputError, match="rows of at most 4096 bytes"):
        open_pixtable(tmp_path / "wide.fits")


@pytest.mark.parametrize("seed", range(200))
def test_random_damage_is_told_or_read(tmp_path, columns, seed):
    """Cards, bytes and lengths at random: an InputError, or rows that can be read."""
    rng = np.random.default_rng(seed)
    path = written(tmp_path / "a.fits", columns, as_table=bool(rng.integers(2)))
    content = bytearray(path.read_bytes())
    odd = ["0", "-1", "4", "99999999999", "4294967296", "9223372036854775807", "'x'", "T", "2.5", "", "'1D'"]
    for _ in range(rng.integers(1, 5)):
        cards = [at for at in range(0, len(content) - 80, 80) if content[at + 8 : at + 10] == b"= "]
        at = cards[rng.integers(len(cards))]
        if rng.random() < 0.7:
            content[at + 10 : at + 80] = str(rng.choice(odd)).ljust(70).encode()
        elif rng.random() < 0.5:
            other = cards[rng.integers(len(cards))]
            content[at : at + 80] = content[other : other + 80]
        else:
            del content[rng.integers(len(content) // 2, len(content)) :]
    path.write_bytes(content)
    try:
        table = open_pixtable(path)
        exposure = Exposure([table], (1.0,), (4000.0, 10000.0))
        exposure.scan()
        block = exposure.gather(4000.0, 10000.0)
        assert len(block) == exposure.rows <= ROWS
        if table.weights is not None:
            RowWeights(table.path, *table.weights, table.rows).of(np.arange(table.rows))
    except InputError as error:
        assert "a.fits" in str(error)
