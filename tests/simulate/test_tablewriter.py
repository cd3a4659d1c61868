# SPDX-License-Identifier: BSD-3-Clause
"""Pixel tables on disk: both flavours, any order of writing, nothing left behind after a failure."""

import numpy as np
import pytest
from astropy.io import fits

from muse_core.simulate.tablewriter import COLUMNS, PixelTableWriter

pytestmark = pytest.mark.unit


def _columns(first, n):
    rows = np.arange(first, first + n)
    out = {name: (rows + 0.25).astype(np.float32) for name in COLUMNS}
    out["dq"], out["origin"] = (rows * 2).astype(np.int32), (-rows).astype(np.int32)
    return out


@pytest.mark.parametrize("as_table", [False, True])
def test_blocks_in_any_order(tmp_path, as_table):
    path = tmp_path / "t.fits"
    header = fits.Header([("EXTNAME", "CHAN07"), ("VALUE", 1.0)])
    flat = (np.array([5000.0, 6000.0]), np.array([1.0, 2.0]))
    with PixelTableWriter(path, header, 1000, as_table=as_table, flat_field=flat) as writer:
        writer.write(600, _columns(600, 400))
        writer.write(0, _columns(0, 600))
        header["VALUE"] = 2.5
    assert path.stat().st_size % 2880 == 0
    with fits.open(path) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["EXTNAME"] == "CHAN07"
        assert hdus[0].header["VALUE"] == 2.5
        assert list(hdus["PIXTABLE_FLAT_FIELD"].data["data"]) == [1.0, 2.0]
        expected = _columns(0, 1000)
        for name in COLUMNS:
            stored = hdus[1].data[name] if as_table else hdus[name].data
            assert stored.ravel().size == 1000
            np.testing.assert_array_equal(stored.ravel(), expected[name])
        if not as_table:
            assert [h.header["EXTNAME"] for h in hdus[1:8]] == list(COLUMNS)
            assert hdus["xpos"].shape == (1000, 1)


def test_a_header_that_grows_is_refused_and_the_file_removed_on_error(tmp_path):
    path = tmp_path / "t.fits"
    header = fits.Header([("EXTNAME", "CHAN07")])
    writer = PixelTableWriter(path, header, 10)
    for k in range(40):
        header[f"KEY{k}"] = k
    with pytest.raises(ValueError, match="changed its size"):
        writer.close()
    with pytest.raises(KeyboardInterrupt), PixelTableWriter(path, fits.Header(), 10):
        raise KeyboardInterrupt
    assert not path.exists()
