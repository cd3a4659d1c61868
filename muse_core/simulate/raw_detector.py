# SPDX-License-Identifier: BSD-3-Clause
"""Read-out of a simulated MUSE detector: four ports, scans, bias structure, noise, hits, masters."""

from __future__ import annotations

import numpy as np

from muse_core.simulate.raw_instrument import RawSetup, ifu_throughput

PORTS = {1: (False, False), 2: (True, False), 3: (True, True), 4: (False, True)}  # right, top
BAD_FRACTION = 5e-5
DARK_RATE = 1.0 / 1800.0  # count per second
HOT_SIGNAL = 400.0  # count in the 1800 s dark
MASTER_BIAS_GAIN = 3.0  # read noise of the master bias is this much smaller
FLAT_ERROR = 0.002
MEAN_LAMP = 0.85  # of the lamp spectrum over the whole range


def bad_pixels(setup: RawSetup, ifu: int) -> np.ndarray:
    """0-based rows and columns of poorly responding pixels on the trimmed image, a short trap included."""
    ny, nx = setup.shape
    rng = setup.rng(903, ifu)
    n = max(8, int(ny * nx * BAD_FRACTION))
    scattered = np.stack([rng.integers(0, ny, n), rng.integers(0, nx, n)], 1)
    length = min(12, ny // 3)
    trap = np.stack([np.arange(ny // 5, ny // 5 + length), np.full(length, 2 * nx // 3)], 1)
    return np.unique(np.concatenate([scattered, trap]), axis=0)


def hot_columns(setup: RawSetup, ifu: int) -> np.ndarray:
    """Columns (0-based, trimmed) of high dark current."""
    return np.unique(setup.rng(905, ifu).integers(0, setup.shape[1], 2))


def pixel_response(setup: RawSetup, ifu: int) -> np.ndarray:
    """Response of every pixel (float32[ny, nx])."""
    response = 1 + 0.01 * setup.rng(902, ifu).standard_normal(setup.shape, dtype=np.float32)
    bad = bad_pixels(setup, ifu)
    response[bad[:, 0], bad[:, 1]] *= 0.3
    return response


def quadrant_slices(
    setup: RawSetup, port: int
) -> tuple[tuple[slice, slice], tuple[slice, slice], tuple[slice, slice]]:
    """Slices of the full quadrant, its data section (both raw frame) and its place in the trimmed image."""
    right, top = PORTS[port]

    def axis(n: int, far: bool) -> tuple[slice, slice, slice]:
        size = n + setup.prescan + setup.overscan
        start = size if far else 0
        data = start + (setup.overscan if far else setup.prescan)
        return slice(start, start + size), slice(data, data + n), slice(n if far else 0, 2 * n if far else n)

    ys, xs = axis(setup.ny, top), axis(setup.nx, right)
    return (ys[0], xs[0]), (ys[1], xs[1]), (ys[2], xs[2])


def dark_image(setup: RawSetup, ifu: int) -> np.ndarray:
    """Noise-free dark of 1800 s in count (float32[ny, nx])."""
    image = np.full(setup.shape, DARK_RATE * 1800.0, np.float32)
    image[:, hot_columns(setup, ifu)] += HOT_SIGNAL
    return image


def read_out(
    setup: RawSetup, ifu: int, exposure: int, signal: np.ndarray, kind: int, hits: bool = True
) -> np.ndarray:
    """Raw frame (uint16) of a noise-free signal in count (float32[ny, nx])."""
    rng = setup.rng(kind, ifu, exposure)
    electrons = signal + np.sqrt(np.maximum(signal, 0)) * rng.standard_normal(setup.shape, dtype=np.float32)
    if hits and setup.cosmics:
        ny, nx = setup.shape
        n = setup.cosmics
        electrons[rng.integers(0, ny, n), rng.integers(0, nx, n)] += rng.uniform(3000, 30000, n)
    raw = np.zeros(setup.frame_shape, np.float32)
    for port in PORTS:
        full, data, trimmed = quadrant_slices(setup, port)
        gain, ron = setup.gain[port - 1], setup.ron[port - 1]
        rows = np.arange(full[0].stop - full[0].start, dtype=float)
        if PORTS[port][1]:
            rows = rows[::-1]  # distance from the read-out corner
        v = rows / rows.size
        level = setup.bias[port - 1] + setup.bias_slope * (v - 0.3 * v**2) + 0.3 * exposure + 0.1 * ifu
        raw[full] += level[:, None].astype(np.float32)
        raw[data] += electrons[trimmed] / np.float32(gain)
        part = raw[full]
        part += np.float32(ron / gain) * rng.standard_normal(part.shape, dtype=np.float32)
        if hits:
            y = rng.integers(full[0].start, full[0].stop, 4)
            first = full[1].start if PORTS[port][0] else full[1].stop - setup.overscan
            raw[y, rng.integers(first, first + setup.overscan, 4)] += rng.uniform(50, 2000, 4)
    raw = np.clip(np.rint(raw), 0, 65535).astype(np.uint16)
    if setup.saturated:
        raw[rng.random(raw.shape) < setup.saturated] = 65535
    return raw


def overscan_level(setup: RawSetup, ifu: int, port: int) -> float:
    """Level that the headers of the master frames tell."""
    return setup.bias[port - 1] + 0.1 * ifu + 0.5 * setup.bias_slope


def master_bias(setup: RawSetup, ifu: int, with_level: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, DQ, STAT of the master bias; ``with_level`` if it was not made with a polynomial overscan."""
    rng = setup.rng(20, ifu)
    data, stat = np.zeros(setup.shape, np.float32), np.zeros(setup.shape, np.float32)
    dq = np.zeros(setup.shape, np.int32)
    for port in PORTS:
        part = quadrant_slices(setup, port)[2]
        noise = setup.ron[port - 1] / setup.gain[port - 1] / MASTER_BIAS_GAIN
        data[part] = noise * rng.standard_normal(data[part].shape, dtype=np.float32)
        if with_level:
            data[part] += np.float32(overscan_level(setup, ifu, port))
        stat[part] = noise**2
    dq[setup.shape[0] // 3, setup.shape[1] // 3 : setup.shape[1] // 3 + 4] = 0x800
    return data, dq, stat


def master_dark(setup: RawSetup, ifu: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, DQ, STAT of the 1800 s master dark."""
    data = dark_image(setup, ifu) + 0.3 * setup.rng(21, ifu).standard_normal(setup.shape, dtype=np.float32)
    dq = np.zeros(setup.shape, np.int32)
    dq[:, hot_columns(setup, ifu)] = 0x200
    return data, dq, np.full(setup.shape, 0.09, np.float32)


def master_flat(
    setup: RawSetup, ifu: int, lamp: np.ndarray, response: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Data, DQ, STAT of the master flat: about 1 in the mean, the throughput of the IFU taken out exactly."""
    data = lamp / np.float32(MEAN_LAMP * ifu_throughput(setup)[ifu]) * response
    data *= 1 + np.float32(FLAT_ERROR) * setup.rng(22, ifu).standard_normal(setup.shape, dtype=np.float32)
    # between the slices there is only scattered light
    data = np.maximum(data, np.float32(1e-3))
    dq = np.zeros(setup.shape, np.int32)
    bad = bad_pixels(setup, ifu)[::5]
    dq[bad[:, 0], bad[:, 1]] = 0x400
    return data.astype(np.float32), dq, (FLAT_ERROR**2 * data).astype(np.float32)
