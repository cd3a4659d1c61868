# SPDX-License-Identifier: BSD-3-Clause
"""Fluxes of sources in round apertures: the measure by which exposures are compared."""

from __future__ import annotations

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Pixels

SKY_PIXELS = 20  # of the ring around an aperture, at least


def aperture_fluxes(
    data: Pixels, bad: Flags, x: Floats, y: Floats, radius: float, noise: float
) -> tuple[Floats, Floats]:
    """Sum the flux within ``radius`` of each source above the median of a ring around it.

    Parameters
    ----------
    data : float32[ny, nx]
    bad : bool[ny, nx]
    x, y : float64[n]
        Zero-based positions.
    radius : float
        Of the aperture, pixels; the ring reaches from 1.5 to 2.2 times that.
    noise : float
        Scatter of a pixel.

    Returns
    -------
    flux, error : float64[n]
        NaN where the aperture leaves the image or holds a bad pixel, or the ring has too few good ones.
    """
    outer = 2.2 * radius
    reach = int(np.ceil(outer))
    flux, error = np.full(x.size, np.nan), np.full(x.size, np.nan)
    ny, nx = data.shape
    for n, (px, py) in enumerate(zip(x, y, strict=True)):
        ix, iy = round(float(px)), round(float(py))
        if not (radius <= px <= nx - 1 - radius and radius <= py <= ny - 1 - radius):
            continue
        rows = slice(max(0, iy - reach), min(ny, iy + reach + 1))
        columns = slice(max(0, ix - reach), min(nx, ix + reach + 1))
        gy, gx = np.ogrid[rows, columns]
        distance = np.hypot(gx - px, gy - py)
        # the edge of the aperture cuts pixels: those get the part of their width that is inside
        share = np.clip(radius + 0.5 - distance, 0.0, 1.0)
        ring = (distance > 1.5 * radius) & (distance < outer) & ~bad[rows, columns]
        if np.count_nonzero(ring) < SKY_PIXELS or np.any(bad[rows, columns] & (share > 0)):
            continue
        values = data[rows, columns].astype(np.float64)
        area = float(share.sum())
        sky = float(np.median(values[ring]))
        flux[n] = float(np.sum(share[share > 0] * values[share > 0])) - area * sky
        error[n] = noise * np.sqrt(area + 1.57 * area**2 / np.count_nonzero(ring))
    return flux, error
