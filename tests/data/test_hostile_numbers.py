# SPDX-License-Identifier: BSD-3-Clause
"""Numbers that no file should hold never become an index, a length or a stride of a kernel."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from muse_core.basic.twilight_cube import divide_rows
from muse_core.data.curves import interpolate, make_curve
from muse_core.data.pixtable import open_pixtable
from muse_core.framework import InputError
from muse_core.postproc.lsf.profile_kernels import place_line, sample
from muse_core.postproc.sky.line_kernels import index_at_or_above
from muse_core.postproc.sky.spectrum import SkySpectrumSum
from muse_core.resampling.stacked import add_stacked_rows

ODD = (np.nan, np.inf, -np.inf, 3e38, -3e38)
FORMATS = {"xpos": "E", "ypos": "E", "lambda": "E", "data": "E", "dq": "J", "stat": "E", "origin": "J"}


@pytest.fixture
def table(tmp_path):
    """A pixel table of ten rows in the binary layout."""
    primary = fits.PrimaryHDU()
    primary.header["HIERARCH ESO DRS MUSE PIXTABLE TYPE"] = "GEOFULL"
    columns = [fits.Column(name, form, array=np.arange(10)) for name, form in FORMATS.items()]
    path = tmp_path / "table.fits"
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def with_card(path, key, value):
    """Overwrite a card of the table's header."""
    content = bytearray(path.read_bytes())
    at = content.index(f"{key:<8}=".encode(), content.index(b"XTENSION"))
    content[at : at + 80] = f"{key:<8}= {value:>20}".ljust(80).encode()
    path.write_bytes(content)


@pytest.mark.unit
def test_sound_table_is_opened(table):
    opened = open_pixtable(table)
    assert (opened.rows, opened.stride) == (10, 28)


@pytest.mark.unit
@pytest.mark.parametrize("width", [0, 1, 4, 27, 29, 2**31, 2**62])
def test_row_length_that_is_not_that_of_the_columns(table, width):
    """4 would be taken for the layout of images, less than 28 would overrun the memory of a piece."""
    with_card(table, "NAXIS1", width)
    with pytest.raises(InputError):
        open_pixtable(table)


@pytest.mark.unit
@pytest.mark.parametrize("rows", [200, 10**6, 2**31, 2**62])
def test_more_rows_than_bytes(table, rows):
    with_card(table, "NAXIS2", rows)
    with pytest.raises(InputError):
        open_pixtable(table)


@pytest.mark.unit
def test_columns_in_two_layouts(table):
    with fits.open(table) as hdus:
        image = fits.ImageHDU(np.zeros((10, 1), np.float32), name="data")
        fits.HDUList([*[hdu.copy() for hdu in hdus], image]).writeto(table, overwrite=True)
    with pytest.raises(InputError, match="two columns data"):
        open_pixtable(table)


@pytest.mark.unit
def test_weights_of_other_length(tmp_path):
    primary = fits.PrimaryHDU()
    primary.header["HIERARCH ESO DRS MUSE PIXTABLE TYPE"] = "GEOFULL"
    kinds = {"E": np.float32, "J": np.int32}
    images = [fits.ImageHDU(np.zeros((10, 1), kinds[form]), name=name) for name, form in FORMATS.items()]
    weight = fits.ImageHDU(np.ones((4, 1), np.float32), name="weight")
    fits.HDUList([primary, *images, weight]).writeto(tmp_path / "t.fits")
    with pytest.raises(InputError, match="weight 4"):
        open_pixtable(tmp_path / "t.fits")


@pytest.mark.kernel
def test_positions_that_are_no_numbers_in_stacked_slices():
    n = len(ODD)
    sums = np.zeros((2, 3, 4))
    add_stacked_rows(
        np.array(ODD, np.float32), np.full(n, 5000.0, np.float32), np.ones(n, np.float32),
        np.zeros(n, np.int32), np.full(n, 1 << 6 | 1, np.int32), np.zeros(2048), np.zeros(2048, np.int64),
        1.0, 5000.0, 1.25, 0, sums,
    )  # fmt: skip
    assert not sums.any()


@pytest.mark.kernel
def test_line_profiles_at_offsets_that_are_no_numbers():
    image = np.ones((3, 10))
    for value in ODD:
        assert sample(image, 0, 0.5, value, 0.0, 1.0) == 0.0
        k, *_ = place_line(np.ones(3), np.ones(3), 0.0, 1.0, 5000.0, 1.0, value)
        assert 0 <= k < 3


@pytest.mark.kernel
def test_rows_beside_a_twilight_cube():
    for value in ODD:
        row = [np.array([v], np.float32) for v in (value, value, value, 1.0, 1.0)]
        divide_rows(*row, np.ones((2, 3, 4), np.float32), np.zeros(3), np.ones(3))
        assert row[3][0] == 1.0


@pytest.mark.kernel
def test_lines_at_wavelengths_that_are_no_numbers():
    limit, first = np.array([5000.0, 5001.0]), np.array([0, 0, 1, 2])
    found = [index_at_or_above(value, limit, first, 5000.0) for value in ODD]
    assert found == [0, 2, 0, 2, 0]


@pytest.mark.unit
def test_curve_with_nodes_that_nearly_coincide():
    curve = make_curve([0.0, 5e-324, 1e-320], [1.0, 1.0, 1.0])
    assert interpolate(curve, [0.0, 1e-320, 1.0], np.nan).tolist()[:2] == [1.0, 1.0]


@pytest.mark.unit
@pytest.mark.parametrize("step", [-1.25, 0.0, np.nan])
def test_spectrum_without_a_step(step):
    with pytest.raises(ValueError, match="step"):
        SkySpectrumSum(5000.0, 6000.0, step)


@pytest.mark.unit
@pytest.mark.parametrize(
    "card",
    ["CONTINUE  'and so on&'", "A\x7fB     = 1", "TTYPE9  = 3"],
    ids=["continues no text", "a keyword that cannot be printed", "a column whose name is a number"],
)
def test_cards_that_readers_stumble_over(table, card):
    content = bytearray(table.read_bytes())
    start = content.index(b"XTENSION")
    at = content.index(b"TFORM1  =", start) if "TTYPE" not in card else content.index(b"TTYPE3  =", start)
    content[at : at + 80] = card.replace("TTYPE9", "TTYPE3").ljust(80).encode("latin-1")
    table.write_bytes(content)
    with pytest.raises(InputError, match="card|TTYPE3|TFORM1"):
        open_pixtable(table)
