# SPDX-License-Identifier: BSD-3-Clause
# mypy: ignore-errors
"""Kernels that read pixel-table rows from a file: byte order, selection by wavelength, limits, in one go.

They are the one place where a kernel does input: it calls ``pread`` of the C library itself. A slab of the
cube takes some thousand runs of about a thousand rows from each file; read from Python, each of them would
cost more than its bytes, and would need the interpreter lock.

A source of rows is described by (descriptor, offsets, stride): the byte offset in the file of the first value
of each column in the order of `pixtable.COLUMNS`, and the bytes from one row to the next (4 for image
columns, the row length for a binary table). Words are big-endian.
"""

from __future__ import annotations

import os

import numpy as np
from numba import config, njit, types

XPOS, YPOS, LAM, DATA, DQ, STAT, ORIGIN = range(7)
PIECE_ROWS = 8192
"""Rows that are read at a time; what belongs to them stays in the processor's cache."""
ZONE_ROWS = 256
BOX_ROWS = 1024
_LANES = 64
_GROUP = 64

if config.DISABLE_JIT:  # to step through kernels in Python

    def pread(descriptor, address, count, offset):
        """Read bytes to a memory address."""
        import ctypes

        data = os.pread(descriptor, count, offset)
        ctypes.memmove(address, data, len(data))
        return len(data)

else:
    pread = types.ExternalFunction("pread", types.intp(types.int32, types.uintp, types.uintp, types.int64))


@njit(cache=True, nogil=True)
def load_bytes(descriptor, offset, count, raw):
    """Fill raw[:count] (uint8) from the file; False if the file ends before."""
    done = 0
    while done < count:
        got = pread(descriptor, raw.ctypes.data + done, count - done, offset + done)
        if got <= 0:
            return False
        done += got
    return True


@njit(cache=True, nogil=True)
def load_column(descriptor, offsets, stride, column, first, last, held, raw, words):
    """Read one column of the rows first .. last - 1 into words[:last - first] (uint32), native.

    Parameters
    ----------
    raw : uint8[PIECE_ROWS * stride]
        scratch memory; for a binary table (stride > 4) it holds the rows already, from row `held` on
    """
    count = last - first
    if stride == 4:
        if not load_bytes(descriptor, offsets[column] + 4 * first, 4 * count, raw):
            return False
        swap_words(raw.view(np.uint32), count, words)
    else:
        swap_strided(raw, offsets[column] - offsets.min() + (first - held) * stride, stride, count, words)
    return True


@njit(cache=True, nogil=True)
def load_table(descriptor, offsets, stride, first, last, raw):
    """Read rows of a binary table as they are; nothing to do for image columns."""
    if stride == 4:
        return True
    start = offsets.min()
    count = (last - first - 1) * stride + offsets.max() + 4 - start
    return load_bytes(descriptor, start + first * stride, count, raw)


@njit(cache=True, nogil=True)
def swap_words(source, count, target):
    """Turn `count` big-endian words (uint32) into native ones."""
    for i in range(count):
        v = source[i]
        target[i] = ((v & 0xFF) << 24) | ((v & 0xFF00) << 8) | ((v >> 8) & 0xFF00) | (v >> 24)


@njit(cache=True, nogil=True)
def swap_strided(source, lead, stride, count, target):
    """Take big-endian words `stride` bytes apart, from byte `lead` on, out of `source` (uint8)."""
    at = lead
    for i in range(count):
        target[i] = (
            np.uint32(source[at]) << 24
            | np.uint32(source[at + 1]) << 16
            | np.uint32(source[at + 2]) << 8
            | np.uint32(source[at + 3])
        )
        at += stride


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
    int, int
        number of runs, number of rows in them
    """
    n, total, inside = 0, 0, False
    for zone in range(zone_low.size):
        hit = (zone_low[zone] <= high) & (zone_high[zone] >= low)
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
    return n, total


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
        first = segments[k, 0] - lead
        for i in range(segments[k, 1] - segments[k, 0]):
            target[at + i] = words[first + i]
        at += segments[k, 1] - segments[k, 0]


@njit(cache=True, nogil=True)
def read_rows(
    descriptor, offsets, stride, runs, low, high, scale, columns, places, firsts, first_row, at, run
):
    """Read the rows of some runs with low <= wavelength <= high, one behind the other.

    Parameters
    ----------
    runs : int64[m, 2]
        first row of each run and the one behind its last
    low, high : float32
    scale : float
        factor on data (stat: its square; float64 arithmetic)
    columns : 7 arrays uint32[n] or uint32[0]
        filled from place `at` on, as bits; empty arrays are columns that are not wanted
    places, firsts : int64[n]
        filled from number `run` on with the place of the first row of each run of rows that follow each
        other, and with its number, counted from `first_row`

    Returns
    -------
    int, int
        the place behind the last row, the number of the next run; -1 if the file ended too early
    """
    raw = np.empty(PIECE_ROWS * stride, np.uint8)
    words = np.empty(PIECE_ROWS, np.uint32)
    segments = np.empty((PIECE_ROWS // 2 + 1, 2), np.int32)
    data, stat = columns[DATA].view(np.float32), columns[STAT].view(np.float32)
    for k in range(runs.shape[0]):
        start = runs[k, 0]
        while start < runs[k, 1]:
            stop = min(start + PIECE_ROWS, runs[k, 1])
            if not (
                load_table(descriptor, offsets, stride, start, stop, raw)
                and load_column(descriptor, offsets, stride, LAM, start, stop, start, raw, words)
            ):
                return -1, run
            n = find_segments(words.view(np.float32), stop - start, low, high, segments)
            if n > 0:
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
                        descriptor, offsets, stride, column, start + lead, start + tail, start, raw, target
                    ):
                        return -1, run
                    if n > 1:
                        pack_segments(words, lead, segments, n, columns[column], at)
                if scale != 1.0 and data.size > 0:
                    for i in range(at, behind):
                        data[i] = np.float32(np.float64(data[i]) * scale)
                        stat[i] = np.float32(np.float64(stat[i]) * scale * scale)
                at = behind
            start = stop
    return at, run


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
    lowest[:] = np.inf
    highest[:] = -np.inf
    count = values.size
    whole = count - count % _LANES
    for start in range(0, whole, _LANES):
        for k in range(_LANES):
            v = values[start + k]
            inside = (lam[start + k] >= low) & (lam[start + k] <= high)
            lowest[k] = v if inside & (v < lowest[k]) else lowest[k]
            highest[k] = v if inside & (v > highest[k]) else highest[k]
    smallest, largest = np.float32(np.inf), np.float32(-np.inf)
    for k in range(_LANES):
        smallest = min(smallest, lowest[k])
        largest = max(largest, highest[k])
    for i in range(whole, count):
        v = values[i]
        if (lam[i] >= low) & (lam[i] <= high):
            smallest = v if v < smallest else smallest
            largest = v if v > largest else largest
    return smallest, largest


@njit(cache=True, nogil=True)
def scan_boxes(
    descriptor, offsets, stride, rows, boxes, low, high, zone_low, zone_high, limits, numbers, found
):
    """Find the limits of groups of rows with low <= wavelength <= high.

    Parameters
    ----------
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
    raw = np.empty(PIECE_ROWS * stride, np.uint8)
    words = np.empty((4, PIECE_ROWS), np.uint32)
    x, y, lam = words[0].view(np.float32), words[1].view(np.float32), words[2].view(np.float32)
    origin = words[3].view(np.int32)
    lowest, highest = np.empty(_LANES, np.float32), np.empty(_LANES, np.float32)
    k = 0
    while k < boxes.size:
        n = 1  # neighbouring boxes are read together
        while n < PIECE_ROWS // BOX_ROWS and k + n < boxes.size and boxes[k + n] == boxes[k] + n:
            n += 1
        start = boxes[k] * BOX_ROWS
        stop = min(start + n * BOX_ROWS, rows)
        complete = load_table(descriptor, offsets, stride, start, stop, raw)
        for i, column in enumerate((XPOS, YPOS, LAM, ORIGIN)):
            complete = complete and load_column(
                descriptor, offsets, stride, column, start, stop, start, raw, words[i]
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
            ifu, number = (origin[i] >> 6) & 0x1F, origin[i] & 0x3F
            numbers[0], numbers[1] = min(numbers[0], ifu), max(numbers[1], ifu)
            numbers[2], numbers[3] = min(numbers[2], number), max(numbers[3], number)
            if not different & 0x7FF:
                break
