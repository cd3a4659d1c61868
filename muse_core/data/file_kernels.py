# SPDX-License-Identifier: BSD-3-Clause
# mypy: ignore-errors
"""Kernels that read pixel-table rows from a file: byte order, selection by wavelength, limits, in one go.

They are the one place where a kernel does input: it calls ``pread`` of the C library itself. A slab of the
cube takes some thousand runs of about a thousand rows from each file; read from Python, each of them would
cost more than its bytes, and would need the interpreter lock.

A source of rows is described by (descriptor, offsets, stride, raw): the byte offsets in the file of the first
value of each column in the order of `pixtable.COLUMNS`, of the first of all, and of what is behind a row; the
bytes from one row to the next (4 for image columns, the row length for a binary table); and, for a binary
table, scratch memory for `PIECE_ROWS` rows. Words in the file are big-endian.
"""

from __future__ import annotations

import os

import numpy as np

from muse_core.framework.kernels import c_function, njit

XPOS, YPOS, LAM, DATA, DQ, STAT, ORIGIN = range(7)
PIECE_ROWS = 8192
"""Rows that are read at a time; what belongs to them stays in the processor's cache."""
ZONE_ROWS = 256
BOX_ROWS = 1024
ENDED, FULL = -1, -2
_LANES = 64
_GROUP = 64


@c_function("intp", "int32", "uintp", "uintp", "int64")
def pread(descriptor, address, count, offset):
    """Read bytes to a memory address (from Python, to step through kernels)."""
    import ctypes

    data = os.pread(descriptor, count, offset)
    ctypes.memmove(address, data, len(data))
    return len(data)


@njit(cache=True, nogil=True)
def load_bytes(descriptor, offset, count, address):
    """Read `count` bytes to a memory address; False if the file ends before."""
    done = 0
    while done < count:
        got = pread(descriptor, address + done, count - done, offset + done)
        if got <= 0:
            return False
        done += got
    return True


@njit(cache=True, nogil=True)
def load_table(descriptor, offsets, stride, raw, first, last):
    """Read the rows first .. last - 1 of a binary table as they are; nothing to do for image columns."""
    if stride == 4:
        return True
    count = (last - first - 1) * stride + offsets[8] - offsets[7]
    return load_bytes(descriptor, offsets[7] + first * stride, count, raw.ctypes.data)


@njit(cache=True, nogil=True)
def load_column(descriptor, offsets, stride, raw, column, first, last, held, words):
    """Read one column of the rows first .. last - 1 into words[:last - first] (uint32), native.

    Parameters
    ----------
    held : int
        for a binary table: the first row that `load_table` has read
    """
    count = last - first
    if stride == 4:
        if not load_bytes(descriptor, offsets[column] + 4 * first, 4 * count, words.ctypes.data):
            return False
        for i in range(count):
            v = words[i]
            words[i] = ((v & 0xFF) << 24) | ((v & 0xFF00) << 8) | ((v >> 8) & 0xFF00) | (v >> 24)
    else:
        at = offsets[column] - offsets[7] + (first - held) * stride
        for i in range(count):
            high = (np.uint32(raw[at]) << 8) | np.uint32(raw[at + 1])
            words[i] = (high << 16) | (np.uint32(raw[at + 2]) << 8) | np.uint32(raw[at + 3])
            at += stride
    return True


@njit(cache=True, nogil=True)
def find_runs(zone_low, zone_high, low, high, rows, runs):
    """Find the runs of rows whose zones touch a wavelength interval.

    Parameters
    ----------
    zone_low, zone_high : float32[m]
        wavelength range of each zone
    low, high : float32
    rows : int
        number of rows of the file
    runs : int64[m, 2]
        filled with the first row and the one behind the last of each run

    Returns
    -------
    int, int, float
        number of runs, number of rows in them, and about how many of these lie in the interval, as if the
        wavelengths in a zone were spread evenly
    """
    n, total, inside, expected = 0, 0, False, 0.0
    for zone in range(zone_low.size):
        hit = (zone_low[zone] <= high) & (zone_high[zone] >= low)
        if hit:
            width = zone_high[zone] - zone_low[zone]
            common = min(zone_high[zone], high) - max(zone_low[zone], low)
            # an interval may end before it begins
            expected += ZONE_ROWS * (max(common, 0.0) / width if 0.0 < width < np.inf else 1.0)
        if hit != inside:
            if hit:
                runs[n, 0] = zone * ZONE_ROWS
            else:
                runs[n, 1] = zone * ZONE_ROWS
                total += runs[n, 1] - runs[n, 0]
                n += 1
            inside = hit
    if inside:
        runs[n, 1] = rows
        total += rows - runs[n, 0]
        n += 1
    return n, total, expected


@njit(cache=True, nogil=True)
def find_segments(lam, count, low, high, segments):
    """Find the segments of neighbouring rows with low <= lam <= high.

    Parameters
    ----------
    lam : float32[n >= count]
    low, high : float32
    segments : int32[m, 2]
        filled with the first row and the one behind the last

    Returns
    -------
    int
        number of segments
    """
    n, inside = 0, False
    for start in range(0, count, _GROUP):
        stop = min(start + _GROUP, count)
        hits = count_inside(lam[start:stop], low, high)
        if hits == (stop - start if inside else 0):
            continue  # the whole group is as the row before
        for i in range(start, stop):
            hit = (lam[i] >= low) & (lam[i] <= high)
            if hit != inside:
                if hit:
                    segments[n, 0] = i
                else:
                    segments[n, 1] = i
                    n += 1
                inside = hit
    if inside:
        segments[n, 1] = count
        n += 1
    return n


@njit(cache=True, nogil=True)
def count_inside(lam, low, high):
    """Count the rows with low <= lam <= high (float32[n])."""
    count = 0
    for i in range(lam.size):
        count += (lam[i] >= low) & (lam[i] <= high)
    return count


@njit(cache=True, nogil=True)
def pack_segments(words, lead, segments, n, target, at):
    """Copy the rows of `n` segments one behind the other into target[at:], from words[row - lead]."""
    for k in range(n):
        count = segments[k, 1] - segments[k, 0]
        # slices instead of sums as indices: those might be negative, which the compiler has to look after
        source, place = words[segments[k, 0] - lead :], target[at : at + count]
        for i in range(count):
            place[i] = source[i]
        at += count


@njit(cache=True, nogil=True)
def read_rows(
    descriptor, offsets, stride, raw, words, lam, segments, runs, low, high, first_row, scale, columns, data,
    stat, places, firsts, at, run,
):  # fmt: skip
    """Read the rows of some runs with low <= wavelength <= high, one behind the other.

    Parameters
    ----------
    words : uint32[PIECE_ROWS], lam : float32[PIECE_ROWS], segments : int32[PIECE_ROWS // 2 + 1, 2]
        scratch memory, the first two the same
    runs : int64[m, 2]
        first row of each run and the one behind its last
    low, high : float32
    first_row : int
        number of the first row of the file
    scale : float
        factor on data (stat: its square; float64 arithmetic)
    columns : 7 arrays uint32[n] or uint32[0]
        filled from place `at` on, as bits; empty arrays are columns that are not wanted (wavelengths are)
    data, stat : float32[n]
        two of these columns as numbers
    places, firsts : int64[n]
        filled from number `run` on with the place of the first row of each run of rows that follow each
        other, and with its number

    Returns
    -------
    int, int
        the place behind the last row (`ENDED` if the file ended too early, `FULL` if the columns are too
        short), the number of the next run
    """
    for k in range(runs.shape[0]):
        start = runs[k, 0]
        while start < runs[k, 1]:
            stop = min(start + PIECE_ROWS, runs[k, 1])
            if not load_table(descriptor, offsets, stride, raw, start, stop):
                return ENDED, run
            if not load_column(descriptor, offsets, stride, raw, LAM, start, stop, start, words):
                return ENDED, run
            n = find_segments(lam, stop - start, low, high, segments)
            if n > 0:
                behind = at
                for i in range(n):
                    behind += segments[i, 1] - segments[i, 0]
                if behind > columns[LAM].size:
                    return FULL, run
                pack_segments(words, 0, segments, n, columns[LAM], at)
                behind = at
                for i in range(n):
                    places[run], firsts[run] = behind, first_row + start + segments[i, 0]
                    behind += segments[i, 1] - segments[i, 0]
                    run += 1
                lead, tail = segments[0, 0], segments[n - 1, 1]
                for column in range(7):
                    if column == LAM or columns[column].size == 0:
                        continue
                    target = columns[column][at:] if n == 1 else words
                    if not load_column(
                        descriptor, offsets, stride, raw, column, start + lead, start + tail, start, target
                    ):
                        return ENDED, run
                    if n > 1:
                        pack_segments(words, lead, segments, n, columns[column], at)
                if scale != 1.0 and data.size > 0:
                    scale_rows(data[at:behind], stat[at:behind], scale)
                at = behind
            start = stop
    return at, run


@njit(cache=True, nogil=True)
def scale_rows(data, stat, scale):
    """Multiply data (float32[n]) by a factor and stat by its square, in place."""
    for i in range(data.size):
        data[i] = np.float64(data[i]) * scale
        stat[i] = np.float64(stat[i]) * scale * scale


@njit(cache=True, nogil=True)
def lane_limits(values, lam, low, high, lowest, highest):
    """Find the limits of a column among the rows with low <= lam <= high, NaN left out.

    Parameters
    ----------
    values, lam : float32[n]
    low, high : float32
    lowest, highest : float32[64]
        scratch memory: a limit for every 64th row, so that the loop needs no order of comparisons

    Returns
    -------
    float32, float32
        smallest and largest value; (inf, -inf) if there is none
    """
    smallest, largest = np.float32(np.inf), np.float32(-np.inf)
    for k in range(_LANES):
        lowest[k], highest[k] = smallest, largest
    whole = values.size - values.size % _LANES
    for start in range(0, whole, _LANES):
        value, wavelength = values[start : start + _LANES], lam[start : start + _LANES]
        for k in range(_LANES):
            v = value[k]
            inside = (wavelength[k] >= low) & (wavelength[k] <= high)
            lowest[k] = v if inside & (v < lowest[k]) else lowest[k]
            highest[k] = v if inside & (v > highest[k]) else highest[k]
    for k in range(_LANES):
        smallest = lowest[k] if lowest[k] < smallest else smallest
        largest = highest[k] if highest[k] > largest else largest
    for i in range(whole, values.size):
        v = values[i]
        if (lam[i] >= low) & (lam[i] <= high):
            smallest = v if v < smallest else smallest
            largest = v if v > largest else largest
    return smallest, largest


@njit(cache=True, nogil=True)
def scan_boxes(
    descriptor, offsets, stride, raw, words, x, y, lam, origin, lanes, rows, boxes, low, high, zone_low,
    zone_high, limits, numbers, found,
):  # fmt: skip
    """Find the limits of groups of rows with low <= wavelength <= high.

    Parameters
    ----------
    words : 4 arrays uint32[PIECE_ROWS]; x, y, lam : float32[PIECE_ROWS]; origin : int32[PIECE_ROWS]
        scratch memory, and the same as numbers
    lanes : float32[2, 64]
        scratch memory
    rows : int
        number of rows of the file
    boxes : int64[m]
        which groups of `BOX_ROWS` rows to read, increasing
    low, high : float32
    zone_low, zone_high : float32[ceil(rows / ZONE_ROWS)]
        wavelength range of each zone (inf, -inf where there is no row), updated
    limits : float32[ceil(rows / BOX_ROWS), 6]
        limits of x, y and wavelength of each box, updated
    numbers : int32[ceil(rows / BOX_ROWS), 4]
        smallest and largest IFU, smallest and largest slice, updated
    found : int32[ceil(rows / BOX_ROWS)]
        number of rows, updated

    Returns
    -------
    bool
        False if the file ended too early
    """
    lowest, highest = lanes[0], lanes[1]
    k = 0
    while k < boxes.size:
        n = 1  # neighbouring boxes are read together
        while n < PIECE_ROWS // BOX_ROWS and k + n < boxes.size and boxes[k + n] == boxes[k] + n:
            n += 1
        start = boxes[k] * BOX_ROWS
        stop = min(start + n * BOX_ROWS, rows)
        complete = load_table(descriptor, offsets, stride, raw, start, stop)
        for i, column in enumerate((XPOS, YPOS, LAM, ORIGIN)):
            complete = complete and load_column(
                descriptor, offsets, stride, raw, column, start, stop, start, words[i]
            )
        if not complete:
            return False
        for box in range(boxes[k], boxes[k] + n):
            a = box * BOX_ROWS - start
            b = min(a + BOX_ROWS, stop - start)
            for first in range(a, b, ZONE_ROWS):
                zone = (start + first) // ZONE_ROWS
                part = lam[first : min(first + ZONE_ROWS, b)]
                zone_low[zone], zone_high[zone] = lane_limits(part, part, low, high, lowest, highest)
            part = lam[a:b]
            limits[box, 0], limits[box, 1] = lane_limits(x[a:b], part, low, high, lowest, highest)
            limits[box, 2], limits[box, 3] = lane_limits(y[a:b], part, low, high, lowest, highest)
            limits[box, 4], limits[box, 5] = lane_limits(part, part, low, high, lowest, highest)
            found[box] = count_inside(part, low, high)
            origin_limits(origin[a:b], part, low, high, numbers[box])
        k += n
    return True


@njit(cache=True, nogil=True)
def origin_limits(origin, lam, low, high, numbers):
    """Find the IFUs and slices of the rows with low <= lam <= high.

    Parameters
    ----------
    origin : int32[n], lam : float32[n]
    numbers : int32[4]
        filled with the smallest and largest IFU and slice (99, -1 if there is no row)
    """
    different = np.int32(0)
    for i in range(origin.size):
        different |= origin[i] ^ origin[0]
    numbers[0], numbers[1], numbers[2], numbers[3] = 99, -1, 99, -1
    for i in range(origin.size):
        if lam[i] >= low and lam[i] <= high:
            for k, number in enumerate(((origin[i] >> 6) & 0x1F, origin[i] & 0x3F)):
                if number < numbers[2 * k]:
                    numbers[2 * k] = number
                if number > numbers[2 * k + 1]:
                    numbers[2 * k + 1] = number
            if not different & 0x7FF:
                break
