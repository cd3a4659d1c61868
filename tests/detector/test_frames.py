# SPDX-License-Identifier: BSD-3-Clause
"""Raw files, masters and tables: layout, simulated sets, and everything that can be wrong with them."""

import shutil

import numpy as np
import pytest
from astropy.io import fits

from muse_core.detector.masters import find_masters
from muse_core.detector.quadrants import read_quadrants
from muse_core.detector.rawframe import open_raw
from muse_core.detector.tables import (
    check_traces,
    check_wavecal,
    read_badpix,
    read_geometry,
    read_traces,
    read_wavecals,
)
from muse_core.framework.errors import InputError
from muse_core.simulate.raw import RawSetup, channel_header, simulate_raw

pytestmark = pytest.mark.unit
SETUP = RawSetup(nx=192, ny=40, ifus=(1, 2), saturated=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("raw")
    simulate_raw(folder, SETUP)
    return folder


def layout(**changes):
    header = channel_header(SETUP, 1)
    for key, value in changes.items():
        header[f"ESO DET {key}"] = value
    return read_quadrants(header, SETUP.frame_shape, "x.fits", "CHAN01")


def test_windows_are_those_measured():
    header = channel_header(SETUP.with_(nx=512, ny=128), 1)
    quadrants = read_quadrants(header, (2 * 192, 2 * 576))
    window = quadrants[0].horizontal(3)
    assert (window[1].start + 1, window[1].stop, window[0].start + 1, window[0].stop) == (33, 544, 164, 192)
    window = quadrants[0].vertical(3)
    assert (window[1].start + 1, window[1].stop, window[0].start + 1, window[0].stop) == (548, 576, 33, 192)


def test_quadrants_tile_the_frame_and_the_trimmed_image():
    frame, trimmed = np.zeros(SETUP.frame_shape, int), np.zeros(SETUP.shape, int)
    for q in layout():
        frame[q.full] += 1
        trimmed[q.trimmed] += 1
        for window in (q.data, q.horizontal(3), q.vertical(3)):
            inside = np.zeros(SETUP.frame_shape, bool)
            inside[window] = True
            full = np.zeros_like(inside)
            full[q.full] = True
            assert inside.any()
            assert not (inside & ~full).any()
        a, b = np.zeros(SETUP.frame_shape, bool), np.zeros(SETUP.frame_shape, bool)
        a[q.data] = True
        b[q.vertical(0)] = b[q.horizontal(0)] = True
        assert not (a & b).any()
    assert (frame == 1).all()
    assert (trimmed == 1).all()


@pytest.mark.parametrize(
    ("changes", "item"),
    [
        ({"OUT1 NX": 200}, "geometry"),
        ({"OUT2 PRSCX": 16}, "geometry"),
        ({"OUT3 OVSCY": -4}, "sizes|PRSC"),
        ({"OUT2 X": 1}, "geometry"),
        ({"OUT2 X": 77}, "1 or 4096"),
        ({"OUT1 GAIN": 0.0}, "GAIN"),
        ({"OUT1 GAIN": "much"}, "GAIN"),
        ({"OUT1 NX": True}, "NX"),
        ({"OUT4 NY": "40"}, "NY"),
    ],
)
def test_bad_layout_is_refused(changes, item):
    with pytest.raises(InputError, match=item):
        layout(**changes)


def test_missing_keyword_is_named():
    header = channel_header(SETUP, 1)
    del header["ESO DET OUT2 NX"]
    with pytest.raises(InputError, match="CHAN01 ESO DET OUT2 NX"):
        read_quadrants(header, SETUP.frame_shape, "x.fits", "CHAN01")


def test_raw_file_is_read(folder):
    raw = open_raw(folder / "sky1.fits")
    assert sorted(raw.headers) == [1, 2]
    assert not raw.faults
    assert raw.exptime == 1.5
    with fits.open(folder / "sky1.fits") as hdus:
        assert np.array_equal(raw.read(2), hdus["CHAN02"].data)
    assert raw.read(2).dtype == np.uint16


def test_truncated_file_keeps_its_good_channels(folder, tmp_path):
    path = tmp_path / "cut.fits"
    data = (folder / "sky0.fits").read_bytes()
    path.write_bytes(data[: int(0.7 * len(data)) // 2880 * 2880])
    raw = open_raw(path)
    assert list(raw.headers) == [1]
    assert "truncated" in str(raw.faults[2])


def test_no_fits_no_channel_no_exptime(folder, tmp_path):
    path = tmp_path / "a.fits"
    path.write_text("nothing")
    with pytest.raises(InputError, match="FITS"):
        open_raw(path)
    with pytest.raises(InputError, match="EXPTIME|CHAN01"):
        open_raw(folder / "geometry.fits".replace("geometry", "truth"))
    shutil.copy(folder / "sky0.fits", path)
    fits.setval(path, "EXPTIME", value="long")
    with pytest.raises(InputError, match="EXPTIME"):
        open_raw(path)


def test_masters_merged_and_single_are_the_same(folder, tmp_path):
    simulate_raw(tmp_path, SETUP, merged=False)
    faults = {}
    merged = find_masters([folder / "master_flat.fits"], faults)
    single = find_masters(sorted(tmp_path.glob("master_flat-*.fits")), faults)
    assert not faults
    assert sorted(merged) == sorted(single) == [1, 2]
    for ifu in merged:
        for a, b in zip(merged[ifu].rows(3, 17), single[ifu].rows(3, 17), strict=True):
            assert np.array_equal(a, b)
        key = "ESO QC FLAT MASTER INTFLUX"
        assert merged[ifu].number(key) == single[ifu].number(key)
    with pytest.raises(InputError, match="merged"):
        find_masters([folder / "master_flat.fits", tmp_path / "master_flat-01.fits"], {})
    with pytest.raises(InputError, match=r"CHAN01.*once"):
        shutil.copy(tmp_path / "master_flat-01.fits", tmp_path / "copy.fits")
        find_masters([tmp_path / "master_flat-01.fits", tmp_path / "copy.fits"], {})


def test_master_without_stat_is_a_fault_of_its_ifu(folder, tmp_path):
    path = tmp_path / "m.fits"
    with fits.open(folder / "master_bias.fits") as hdus:
        fits.HDUList([h for h in hdus if h.name != "CHAN02.STAT"]).writeto(path)
    faults = {}
    assert list(find_masters([path], faults)) == [1]
    assert "STAT" in str(faults[2][0])


def test_gzipped_master_is_read(folder, tmp_path):
    import gzip

    path = tmp_path / "master_flat.fits.gz"
    path.write_bytes(gzip.compress((folder / "master_flat.fits").read_bytes()))
    plain = find_masters([folder / "master_flat.fits"], {})[1].rows(0, 9)
    packed = find_masters([path], {})[1].rows(0, 9)
    assert all(np.array_equal(a, b) for a, b in zip(plain, packed, strict=True))


def test_tables_come_back(folder):
    from muse_core.simulate import raw_instrument as instrument

    faults = {}
    trace = read_traces([folder / "trace.fits"], faults)[2]
    wave = read_wavecals([folder / "wavecal.fits"], faults)[2]
    geometry, geometry_faults = read_geometry(folder / "geometry.fits")
    assert not faults
    assert not geometry_faults
    assert np.array_equal(trace, instrument.trace_polynomials(SETUP, 2)[:, 1:])
    assert np.array_equal(wave, instrument.wave_polynomials(SETUP, 2))
    assert len(geometry) == 24
    assert read_badpix([folder / "badpix.fits"])[1][0].x.min() > 32
    check_traces(trace, SETUP.shape, "t", 2)
    check_wavecal(wave, trace, SETUP.shape, "w", 2)


def test_bad_tables_are_faults(folder, tmp_path):
    trace = read_traces([folder / "trace.fits"], {})[1]
    wave = read_wavecals([folder / "wavecal.fits"], {})[1]
    out = trace.copy()
    out[47, 1, 0] += 60
    with pytest.raises(InputError, match="slice 48"):
        check_traces(out, SETUP.shape, "t", 1)
    crossed = trace.copy()
    crossed[5, [0, 1]] = crossed[5, [1, 0]]
    with pytest.raises(InputError, match="slice 6"):
        check_traces(crossed, SETUP.shape, "t", 1)
    back = wave.copy()
    back[11, 0, 2] = -1.0
    with pytest.raises(InputError, match="slice 12.*rise"):
        check_wavecal(back, trace, SETUP.shape, "w", 1)
    back[11, 0, 2] = np.nan
    with pytest.raises(InputError, match="slice 12"):
        check_wavecal(back, trace, SETUP.shape, "w", 1)
    for other_unit in (0.1, 1e26):
        with pytest.raises(InputError, match="slice 1.*in Angstrom.*in the middle"):
            check_wavecal(wave * other_unit, trace, SETUP.shape, "w", 1)
    with fits.open(folder / "geometry.fits") as hdus:
        table = hdus[1].data
        keep = ~((table["SubField"] == 2) & (table["SliceCCD"] == 7))
        fits.HDUList([hdus[0], fits.BinTableHDU(table[keep])]).writeto(tmp_path / "g.fits")
        columns = fits.ColDefs([c for c in hdus[1].columns if c.name != "angle"])
        fits.HDUList([hdus[0], fits.BinTableHDU.from_columns(columns)]).writeto(tmp_path / "h.fits")
    geometry, faults = read_geometry(tmp_path / "g.fits")
    assert 2 not in geometry
    assert "[7]" in str(faults[2])
    with pytest.raises(InputError, match="angle"):
        read_geometry(tmp_path / "h.fits")
    with pytest.raises(InputError, match="once"):
        read_traces([folder / "trace.fits", folder / "trace.fits"], {})
