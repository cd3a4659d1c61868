# SPDX-License-Identifier: BSD-3-Clause
"""Reading of pixel-table rows beside the plain selection of the same columns in memory."""

import errno
import mmap
import threading

import numpy as np
import pytest
from astropy.io import fits

from muse_core.data import memory, row_reader
from muse_core.data.block import Block, concatenate
from muse_core.data.exposure import PLACES, POSITIONS, Exposure
from muse_core.data.kernels import finite_limits
from muse_core.data.pixtable import COLUMNS, INTEGER_COLUMNS, open_pixtable
from muse_core.data.pixtable_writer import PixelTableWriter, column_units
from muse_core.framework import InputError
from muse_core.framework.team import Threads

CUT = (4700.0, 9300.0)
ATTRIBUTE = {name: "lam" if name == "lambda" else name for name in COLUMNS}


def detector_rows(rng, n_slices=3, n_lines=150, width=17, ifu=7):
    """Rows in the order of a detector: slice, line, column; some wavelengths outside of the cut."""
    number, line, column = (a.ravel() for a in np.mgrid[0:n_slices, 0:n_lines, 0:width])
    n = number.size
    lam = 4650 + 4800 / n_lines * (line - 0.04 * column) + rng.normal(0, 0.01, n)
    table = {
        "xpos": rng.normal(0, 50, n),
        "ypos": rng.normal(0, 50, n),
        "lambda": lam,
        "data": rng.normal(0, 1, n),
        "dq": rng.integers(0, 2**30, n),
        "stat": rng.uniform(1, 2, n),
        "origin": column << 24 | line << 11 | ifu << 6 | (number + 1),
    }
    table = {name: v.astype("i4" if name in INTEGER_COLUMNS else "f4") for name, v in table.items()}
    for name in ("xpos", "ypos", "lambda", "data"):
        table[name][rng.integers(0, n, 20)] = np.nan
    return table


def write(path, table, *, as_table):
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"], header["EXTEND"] = True, 8, 0, True
    header["HIERARCH ESO DRS MUSE PIXTABLE TYPE"] = "GEOFULL"
    n = table["lambda"].size
    writer = PixelTableWriter(path, header, n, column_units("pix", "count"), as_table=as_table)
    writer.write_all([Block(**{ATTRIBUTE[name]: table[name] for name in COLUMNS}, row=np.arange(n))])
    return open_pixtable(path)


@pytest.fixture(params=["images", "table", "shuffled"])
def observed(request, tmp_path):
    """An exposure of three files, and the columns of its rows with their numbers."""
    rng = np.random.default_rng(3)
    files, tables, scales = [], [], (1.0, 0.7, 1.3)
    for k in range(3):
        table = detector_rows(rng, n_lines=(150, 1, 700)[k], ifu=k + 1)
        if request.param == "shuffled":
            order = rng.permutation(table["lambda"].size)
            table = {name: values[order] for name, values in table.items()}
        files.append(write(tmp_path / f"{k}.fits", table, as_table=request.param == "table"))
        table["data"] = (table["data"].astype("f8") * scales[k]).astype("f4")
        table["stat"] = (table["stat"].astype("f8") * scales[k] * scales[k]).astype("f4")
        tables.append(table)
    joined = {name: np.concatenate([table[name] for table in tables]) for name in COLUMNS}
    joined["row"] = np.arange(joined["lambda"].size)
    exposure = Exposure(files, scales, CUT)
    exposure.scan(Threads(2))
    return exposure, joined


def chosen(table, low, high):
    keep = (table["lambda"] >= low) & (table["lambda"] <= high)
    return {name: values[keep] for name, values in table.items()}


def assert_rows(block, table, columns=COLUMNS):
    assert len(block) == table["lambda"].size
    for name in (*columns, "row"):
        np.testing.assert_array_equal(getattr(block, ATTRIBUTE.get(name, name)), table[name], err_msg=name)
    for name in set(COLUMNS) - set(columns):
        assert getattr(block, ATTRIBUTE[name]).size == 0


@pytest.mark.law
@pytest.mark.parametrize(
    "interval", [(5000.0, 5030.0), (4000.0, 9999.0), (6000.0, 6000.0), (-np.inf, 4750.1)]
)
def test_gathered_rows_are_those_of_the_interval(observed, interval):
    exposure, table = observed
    expected = chosen(chosen(table, *CUT), *interval)
    assert_rows(exposure.gather(*interval), expected)


@pytest.mark.law
def test_limits_of_intervals_are_not_rounded(observed):
    exposure, table = observed
    value = float(np.nanmedian(table["lambda"]))
    for low, high in (
        (value, value),
        (np.nextafter(value, 1e9), value + 1),
        (value - 1, np.nextafter(value, 0)),
    ):
        assert_rows(exposure.gather(low, high), chosen(table, low, high))


@pytest.mark.law
def test_ranges_together_are_all_rows(observed):
    exposure, table = observed
    for columns in (frozenset(COLUMNS), POSITIONS, PLACES):
        blocks = [exposure.read_range(piece, columns=columns) for piece in exposure.chunk_ranges(1000)]
        for block in blocks:
            _ = block.row  # before they are joined
        if columns == frozenset(COLUMNS):
            assert_rows(concatenate(blocks), chosen(table, *CUT))
        else:
            names = [name for name in COLUMNS if name in columns]
            for name in (*(ATTRIBUTE[name] for name in names), "row"):
                values = np.concatenate([getattr(block, name) for block in blocks])
                key = "lambda" if name == "lam" else name
                np.testing.assert_array_equal(values, chosen(table, *CUT)[key])


@pytest.mark.law
def test_work_sees_each_row_once_and_changes_it(observed, monkeypatch):
    monkeypatch.setattr("muse_core.data.row_reader.PART_ROWS", 300)
    exposure, table = observed
    numbers = []

    def work(part):
        numbers.append(part.row.copy())
        part.xpos[:] = part.row

    block = exposure.gather(5000.0, 8000.0, work)
    expected = chosen(table, 5000.0, 8000.0)
    assert len(numbers) > 3
    np.testing.assert_array_equal(np.concatenate(numbers), expected["row"])
    np.testing.assert_array_equal(block.xpos, expected["row"].astype("f4"))


@pytest.mark.law
def test_more_rows_than_expected_find_room(observed, monkeypatch):
    exposure, table = observed
    monkeypatch.setattr("muse_core.data.exposure._SURE", 0.3)
    monkeypatch.setattr("muse_core.data.exposure._SPARE", 0)
    blocks = [
        exposure.gather(5000.0, 8000.0, lambda part: np.negative(part.xpos, out=part.xpos)) for _ in "ab"
    ]
    for block in blocks:
        _ = block.row
        np.negative(block.xpos, out=block.xpos)
        assert_rows(block, chosen(table, 5000.0, 8000.0))


@pytest.mark.unit
def test_room_grows_by_steps(observed, monkeypatch):
    # at the borders fewer rows are expected than there are, and the runs have ten times as many
    exposure, table = observed
    monkeypatch.setattr("muse_core.data.exposure._SURE", 0.3)
    monkeypatch.setattr("muse_core.data.exposure._SPARE", 0)
    enlarge, rooms = row_reader._enlarged, []

    def enlarged(words, count, rows, columns):
        rooms.append(rows)
        return enlarge(words, count, rows, columns)

    monkeypatch.setattr(row_reader, "_enlarged", enlarged)
    block = exposure.gather(5000.0, 8000.0)
    assert_rows(block, chosen(table, 5000.0, 8000.0))
    assert len(rooms) > 1
    assert rooms[-1] < 2 * len(block)


@pytest.mark.law
def test_narrowing_gives_what_a_scan_with_the_narrower_cut_gives(observed):
    exposure, table = observed
    narrow = exposure.narrowed(5100.3, 8000.0)
    fresh = Exposure(exposure.files, exposure.scales, (5100.3, 8000.0))
    fresh.scan()
    assert narrow.rows == chosen(table, 5100.3, 8000.0)["row"].size
    assert narrow.lambda_limits() == fresh.lambda_limits()
    for a, b in zip(narrow.zones, fresh.zones, strict=True):
        for name in ("lam_min", "lam_max", "limits", "numbers", "found"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)
    assert exposure.narrowed(0.0, 1e9) is exposure
    np.testing.assert_array_equal(narrow.rows_of_slices(), fresh.rows_of_slices())


@pytest.mark.unit
def test_boxes_know_the_limits_of_their_rows(observed):
    exposure, table = observed
    inside = chosen(table, *CUT)
    limits = np.concatenate([zone.limits for zone in exposure.zones])
    for k, name in enumerate(("xpos", "ypos", "lambda")):
        low, high = float(np.nanmin(inside[name])), float(np.nanmax(inside[name]))
        assert (limits[:, 2 * k].min(), limits[:, 2 * k + 1].max()) == (low, high)
        assert finite_limits(inside[name]) == (low, high)
    expected = np.bincount(inside["origin"] & 0x7FF, minlength=2048)
    np.testing.assert_array_equal(exposure.rows_of_slices(), expected)


@pytest.mark.unit
def test_runs_of_slices(observed):
    exposure, table = observed
    keys, numbers = [], []
    for piece in exposure.slice_ranges():
        block = exposure.read_range(piece, columns=PLACES)
        found = np.unique(block.origin & 0x7FF)
        assert found.size <= 1
        keys += found.tolist()
        numbers.append(block.row)
    inside = chosen(table, *CUT)
    np.testing.assert_array_equal(np.concatenate(numbers), inside["row"])
    slices = inside["origin"] & 0x7FF
    first = [0, *(np.flatnonzero(np.diff(slices)) + 1)]
    assert keys == slices[first].tolist()


@pytest.mark.unit
def test_empty_intervals_and_limits_without_numbers(observed):
    exposure, _ = observed
    for low, high in ((1.0, 2.0), (7000.0, 6000.0)):
        block = exposure.gather(low, high)
        assert len(block) == block.row.size == 0
    assert finite_limits(np.full(3, np.nan, np.float32)) == (np.inf, -np.inf)


@pytest.mark.unit
def test_a_file_that_ends_too_early_is_an_input_error(observed):
    exposure, _ = observed
    path = exposure.files[2].path
    with path.open("r+b") as stream:
        stream.truncate(path.stat().st_size // 2)
    with pytest.raises(InputError, match="end of file"):
        exposure.gather(*CUT)
    with pytest.raises(InputError, match="end of file"):
        exposure.scan()


@pytest.mark.law
def test_blocks_of_several_threads_do_not_share_memory(observed):
    exposure, table = observed
    expected = chosen(table, 5000.0, 6000.0)["row"].astype("f4")
    wrong = []

    def work():
        for _ in range(30):
            blocks = [exposure.gather(5000.0, 6000.0) for _ in range(2)]
            blocks[0].xpos[:] = blocks[0].row
            blocks[1].xpos[:] = -1.0
            if not np.array_equal(blocks[0].xpos, expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.unit
def test_memory_is_used_again_only_when_nothing_refers_to_it():
    memory.release_free_memory()
    count = memory.SMALLEST
    first = memory.borrow(count, np.uint32)
    address = first.ctypes.data
    part = first[10:20].view(np.float32)
    del first
    second = memory.borrow(count, np.uint32)
    assert second.ctypes.data != address
    del part
    third = memory.borrow(count - 5, np.uint32)
    assert third.ctypes.data == address
    del second, third
    memory.borrow(3 * count, np.uint32)
    memory.release_free_memory()


@pytest.mark.unit
def test_no_more_memory_is_kept_than_was_in_use_at_one_time():
    pool = memory._Pool()
    megabyte = 1 << 20
    for size in (3, 1, 8, 2, 5, 1, 30, 4):
        lent = [pool.borrow(size * megabyte) for _ in range(3)]
        pool.returned.extend(lent)
        pool._take_back()
        assert pool.in_use == 0
        assert sum(piece.size for piece in pool.free) <= pool.most
    pool.release()
    assert not pool.free


def test_rows_of_pieces_are_counted_without_reading_them(observed):
    exposure, _ = observed
    n = exposure.files[2].rows
    pieces = [
        (0, 0, 1024),
        (0, 1024, 1300),
        (0, 1300, 1301),
        (1, 0, 1),
        (2, 17, 2048),
        (2, 3000, n),
        (2, 0, n),
    ]
    pieces += exposure.slice_ranges()
    assert exposure.rows_of_pieces(pieces).tolist() == [len(exposure.read_range(piece)) for piece in pieces]


@pytest.mark.unit
def test_memory_is_there_on_systems_without_huge_pages(monkeypatch):
    class Pages(mmap.mmap):
        def madvise(self, *_):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(mmap, "mmap", Pages)
    piece = memory._fresh(memory.SMALLEST)
    piece[:] = 1
    assert piece.size == memory.SMALLEST
