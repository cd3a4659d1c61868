# SPDX-License-Identifier: BSD-3-Clause
"""OFFSET_LIST as others write it: units, digits of dates, rows that contradict each other, rotations."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from muse_core.data.header_values import Keywords
from muse_core.data.offset_list import OffsetList, OffsetRow, read_offsets, read_offsets_as_c
from muse_core.framework import Frame, InputError
from muse_core.postproc.astrometry.projection import fit_astrometry

pytestmark = pytest.mark.unit
DATES = ["2017-02-16T06:00:00.123", "2017-02-16T07:00:00.456"]
MJDS = [57800.25000142, 57800.29167194]


def written(path, units=None, **columns):
    """Write a table as astropy does; ``units`` of its columns."""
    standard = {"DATE_OBS": DATES, "MJD_OBS": MJDS, "RA_OFFSET": [0.0, 3.0], "DEC_OFFSET": [0.0, -3.0]}
    table = Table({name: value for name, value in {**standard, **columns}.items() if value is not None})
    for name, unit in (units or {}).items():
        table[name].unit = unit
    table.write(path, overwrite=True)
    return Frame(path, "OFFSET_LIST")


@pytest.mark.parametrize(
    ("unit", "factor"),
    [
        (None, 1.0),
        ("deg", 1.0),
        ("arcsec", 1 / 3600),
        ("arcmin", 1 / 60),
        ("mas", 1 / 3.6e6),
        ("rad", 180 / np.pi),
    ],
)
def test_units_are_honoured(tmp_path, unit, factor):
    frame = written(tmp_path / "o.fits", unit and {"RA_OFFSET": unit, "DEC_OFFSET": unit})
    row = read_offsets(frame).rows[1]
    assert (row.ra_offset, row.dec_offset) == pytest.approx((3.0 * factor, -3.0 * factor))
    assert read_offsets_as_c(frame).rows[1].ra_offset == 3.0


@pytest.mark.parametrize(
    ("column", "unit"),
    [("RA_OFFSET", "pix"), ("DEC_OFFSET", "m"), ("RA_OFFSET", "h"), ("MJD_OBS", "yr"), ("FLUX_SCALE", "mag")],
)
def test_other_units_are_refused(tmp_path, column, unit):
    frame = written(tmp_path / "o.fits", {column: unit}, FLUX_SCALE=[1.0, 1.0])
    with pytest.raises(InputError, match=rf"o\.fits: unit of the column {column}"):
        read_offsets(frame)


@pytest.mark.parametrize("unit", [None, "s", "d"])
def test_the_unit_of_the_dates_is_days_whatever_is_written(tmp_path, unit):
    frame = written(tmp_path / "o.fits", unit and {"MJD_OBS": unit})
    assert read_offsets(frame).rows[0].mjd_obs == MJDS[0]


@pytest.mark.parametrize(
    "date",
    [
        "2017-02-16T07:00:00",
        "2017-02-16T07:00:00.4560",
        "2017-02-16 07:00:00.456",
        "2017-02-16T07:00:00.456Z",
        "",
    ],
)
def test_an_exposure_finds_its_row_by_either_date(date):
    for mjds in (MJDS, [None, None]):
        offsets = OffsetList(
            "o.fits",
            [OffsetRow(DATES[0], 0.0, 0.0, mjd_obs=mjds[0]), OffsetRow(date, 1.0, 2.0, mjd_obs=mjds[1])],
        )
        row = offsets.row_of(DATES[1], MJDS[1])
        assert row == (offsets.rows[1] if date or mjds[1] else None)
        assert offsets.row_of("2017-02-16T08:00:00.000", 57800.33) is None


def test_rows_that_contradict_each_other_are_refused():
    rows = [OffsetRow(DATES[0], 0.0, 0.0), OffsetRow(DATES[0], 1e-3, 0.0)]
    with pytest.raises(InputError, match="expected one row"):
        OffsetList("o.fits", rows).row_of(DATES[0], None)
    assert OffsetList("o.fits", rows, by_date_only=True).row_of(DATES[0], None) == rows[0]
    assert OffsetList("o.fits", [rows[0], rows[0]]).row_of(DATES[0], None) == rows[0]
    # the same exposure twice, once by its date and once by its MJD
    mixed = [OffsetRow(DATES[0], 0.0, 0.0), OffsetRow("", 1e-3, 0.0, mjd_obs=MJDS[0])]
    with pytest.raises(InputError, match="expected one row"):
        OffsetList("o.fits", mixed).row_of(DATES[0], MJDS[0])


def test_missing_columns(tmp_path):
    assert len(read_offsets(written(tmp_path / "o.fits", DATE_OBS=None)).rows) == 2
    with pytest.raises(InputError, match="column DATE_OBS"):
        read_offsets_as_c(written(tmp_path / "o.fits", DATE_OBS=None))
    with pytest.raises(InputError, match="column DATE_OBS"):
        read_offsets(written(tmp_path / "o.fits", DATE_OBS=None, MJD_OBS=None))
    with pytest.raises(InputError, match="column RA_OFFSET"):
        read_offsets(written(tmp_path / "o.fits", RA_OFFSET=None))
    with pytest.raises(InputError, match="finite RA_OFFSET"):
        read_offsets(written(tmp_path / "o.fits", RA_OFFSET=[0.0, np.nan]))


def test_names_in_other_cases_and_text_tables(tmp_path):
    columns = [
        fits.Column("date_obs", "A30", array=np.array(DATES)),
        fits.Column("ra_offset", "E15.8", array=np.array([0.0, 3.0]), unit="ARCSEC"),
        fits.Column("dec_offset", "E15.8", array=np.array([0.0, 3.0]), unit="ARCSEC"),
    ]
    hdu = fits.TableHDU.from_columns(columns)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "o.fits")
    row = read_offsets(Frame(tmp_path / "o.fits", "OFFSET_LIST")).row_of(DATES[1], None)
    assert row.ra_offset == pytest.approx(3.0 / 3600.0)


@pytest.mark.parametrize("mode", ["SKY", "STAT"])
@pytest.mark.parametrize("rotation", [4.0, -2.5])
def test_a_rotation_turns_the_projection_as_muse_exp_align_counts_it(mode, rotation):
    from muse_core.postproc.astrometry import offsets

    class Exposure:
        number = 2
        keywords = Keywords(
            {"ESO INS MODE": "WFM-NOAO-N", "ESO INS DROT POSANG": 30.0, "ESO INS DROT MODE": mode}
        )

    class Context:
        log = __import__("logging").getLogger("muse.test")

    limits = (0.0, 100.0, 0.0, 100.0)
    before = np.array(fit_astrometry(Exposure.keywords, limits).cd)
    exposure = Exposure()
    offsets.turn(exposure, rotation, Context())
    after = np.array(fit_astrometry(exposure.keywords, limits).cd)
    # the header says ``rotation`` too much: the field turns back, from east towards north
    angle = np.radians(-rotation)
    turn = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    np.testing.assert_allclose(after, turn @ before, atol=1e-16)
