# SPDX-License-Identifier: BSD-3-Clause
"""Row kernels of the simulator: coordinates, light, noise and cosmic rays of one slice.

All arrays hold the rows of one slice in file order (CCD row, then column). Nothing here does I/O.
"""

from __future__ import annotations

import math

import numpy as np

from muse_core.framework.kernels import njit


@njit(cache=True, nogil=True)
def fill_coordinates(par, rows, ncol, xoffset, tag, xpos, ypos, lam, origin):
    """Fill the coordinate columns of one slice.

    Parameters
    ----------
    par : float64[13]   Geometry.parameters of the slice
    rows : int64[nrow]  CCD rows, 1-based
    ncol : int          columns per row
    xoffset, tag : int  header offset; ifu << 6 | slice
    xpos, ypos, lam : float32[nrow * ncol]   filled
    origin : int32[nrow * ncol]              filled
    """
    k = 0
    for iy in range(rows.size):
        t = (rows[iy] - 2056.0) / 2056.0
        left = par[4] + t * (par[5] + t * par[6])
        wave = par[8] + t * (par[9] + t * par[10])
        first = int(math.ceil(left))
        for ix in range(ncol):
            column = first + ix
            s = 2.0 * (column - left) / par[7] - 1.0  # -1..1 along the slice
            # the slice runs against xpos: low columns lie at high xpos, as in the tables of the instrument
            x = par[0] - 0.5 * par[3] * s
            xpos[k] = x
            ypos[k] = par[1] + par[2] * (x - par[0])
            lam[k] = wave + s * (par[11] + s * par[12])
            origin[k] = ((column - xoffset) & 0x7F) << 24 | (rows[iy] & 0x1FFF) << 11 | tag
            k += 1


@njit(cache=True, nogil=True)
def lookup(table, start, step, value):
    """Linear interpolation in an equidistant table, constant beyond its ends."""
    t = (value - start) / step
    if t <= 0.0:
        return table[0]
    i = int(t)
    if i >= table.size - 1:
        return table[table.size - 1]
    f = t - i
    return (1.0 - f) * table[i] + f * table[i + 1]


@njit(cache=True, nogil=True)
def add_sources(xpos, ypos, lam, shift, wcs, src, spec, lam0, dlam, lsf_sigma, out):
    """Add point sources and galaxies to the surface brightness `out` (flux per nominal spaxel).

    Parameters
    ----------
    xpos, ypos, lam : float32[n]
    shift : float64[2, nt]  refraction shift of xpos and ypos [pix] on the table grid lam0, dlam
    wcs : float64[6]        x0, y0, and the matrix from pixel to tangent-plane arcsec (row by row)
    src : float64[ns, 12]   xi, eta [arcsec], flux scale, FWHM major [arcsec] at 7000 A, axis ratio, angle
        [rad], beta, seeing exponent, line flux, line wavelength, line sigma [A], velocity slope [A/arcsec]
    spec : float32[ns, nt]  continuum flux density of each source on the same grid
    lsf_sigma : float64     width of the slice's line-spread function [A]
    out : float64[n]        updated
    """
    area = abs(wcs[2] * wcs[5] - wcs[3] * wcs[4])
    for i in range(xpos.size):
        wl = lam[i]
        x = xpos[i] + lookup(shift[0], lam0, dlam, wl) - wcs[0]
        y = ypos[i] + lookup(shift[1], lam0, dlam, wl) - wcs[1]
        xi = wcs[2] * x + wcs[3] * y
        eta = wcs[4] * x + wcs[5] * y
        for k in range(src.shape[0]):
            u = xi - src[k, 0]
            v = eta - src[k, 1]
            r2 = u * u + v * v
            fwhm = src[k, 3]
            if r2 > 64.0 * fwhm * fwhm:  # beyond 8 FWHM nothing is left of a Moffat profile
                continue
            if src[k, 7] != 0.0:
                fwhm *= (wl / 7000.0) ** src[k, 7]
            beta = src[k, 6]
            a = 0.5 * fwhm / math.sqrt(2.0 ** (1.0 / beta) - 1.0)
            ca, sa = math.cos(src[k, 5]), math.sin(src[k, 5])
            major = u * sa + v * ca
            minor = (u * ca - v * sa) / src[k, 4]
            q = (major * major + minor * minor) / (a * a)
            profile = (beta - 1.0) / (math.pi * a * a * src[k, 4]) * (1.0 + q) ** (-beta) * area
            flux = src[k, 2] * lookup(spec[k], lam0, dlam, wl)
            if src[k, 8] != 0.0:
                sig2 = src[k, 10] * src[k, 10] + lsf_sigma * lsf_sigma
                d = wl - src[k, 9] - src[k, 11] * major
                if d * d < 36.0 * sig2:
                    flux += src[k, 8] * math.exp(-0.5 * d * d / sig2) / math.sqrt(2.0 * math.pi * sig2)
            out[i] += flux * profile


@njit(cache=True, nogil=True)
def add_cube(xpos, ypos, lam, shift, lam0, dlam, wcs, cube, grid, scale, out):
    """Add a scene cube by trilinear interpolation (nothing outside it).

    Parameters
    ----------
    cube : float32[nl, ny, nx]   flux per nominal spaxel; nl = 1: the same at all wavelengths
    grid : float64[6]            xi0, dxi, eta0, deta [arcsec], lambda0, dlambda of the cube's axes
    scale : float64              factor
    """
    nl, ny, nx = cube.shape
    for i in range(xpos.size):
        wl = lam[i]
        x = xpos[i] + lookup(shift[0], lam0, dlam, wl) - wcs[0]
        y = ypos[i] + lookup(shift[1], lam0, dlam, wl) - wcs[1]
        px = (wcs[2] * x + wcs[3] * y - grid[0]) / grid[1]
        py = (wcs[4] * x + wcs[5] * y - grid[2]) / grid[3]
        if px < 0.0 or py < 0.0 or px >= nx - 1 or py >= ny - 1:
            continue
        ix, iy = int(px), int(py)
        fx, fy = px - ix, py - iy
        pl = (wl - grid[4]) / grid[5] if nl > 1 else 0.0
        if pl < 0.0 or pl > nl - 1:
            continue
        il = min(int(pl), max(nl - 2, 0))
        fl = pl - il
        total = 0.0
        for kl in range(2 if nl > 1 else 1):
            w = (fl if kl else 1.0 - fl) if nl > 1 else 1.0
            p = cube[il + kl]
            total += w * (
                (1 - fy) * ((1 - fx) * p[iy, ix] + fx * p[iy, ix + 1])
                + fy * ((1 - fx) * p[iy + 1, ix] + fx * p[iy + 1, ix + 1])
            )
        out[i] += scale * total


@njit(cache=True, nogil=True)
def add_spectrum(lam, table, lam0, dlam, out):
    """Add a spectrum that fills the slice evenly (the sky)."""
    for i in range(lam.size):
        out[i] += lookup(table, lam0, dlam, lam[i])


@njit(cache=True, nogil=True)
def add_raman(xpos, ypos, lam, coefficients, table, lam0, dlam, out):
    """Add Raman light: spectrum times xx x^2 + xy x y + yy y^2 + x x + y y + 1."""
    c = coefficients
    for i in range(lam.size):
        x, y = float(xpos[i]), float(ypos[i])
        out[i] += lookup(table, lam0, dlam, lam[i]) * (
            c[0] * x * x + c[1] * x * y + c[2] * y * y + c[3] * x + c[4] * y + 1.0
        )


@njit(cache=True, nogil=True)
def to_counts(lam, sensitivity, lam0, dlam, factor, light):
    """Turn flux into counts in place."""
    for i in range(lam.size):
        light[i] *= factor * lookup(sensitivity, lam0, dlam, lam[i])


@njit(cache=True, nogil=True)
def _next(state):
    """xoroshiro128+ (Blackman and Vigna 2018), state uint64[2]."""
    s0, s1 = state[0], state[1]
    result = s0 + s1
    s1 ^= s0
    state[0] = ((s0 << np.uint64(24)) | (s0 >> np.uint64(40))) ^ s1 ^ (s1 << np.uint64(16))
    state[1] = (s1 << np.uint64(37)) | (s1 >> np.uint64(27))
    return result


@njit(cache=True, nogil=True)
def uniform(state):
    """Uniform number in (0, 1)."""
    return (float(_next(state) >> np.uint64(11)) + 0.5) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def add_noise(state, light, gain_noise, readnoise, from_data, data, stat):
    """Detect the light: Poisson photons below 16 counts, their Gaussian limit above, plus readout noise.

    Parameters
    ----------
    state : uint64[2]        random state, advanced
    light : float64[n]       expected counts
    gain_noise : bool        draw noise at all
    readnoise : float64      counts
    from_data : bool         variance estimated from the noisy value (as on real data) instead of the
        expected one
    data, stat : float32[n]  filled
    """
    for i in range(light.size):
        mean = max(light[i], 0.0)
        value = light[i]
        if gain_noise:
            u = uniform(state)
            v = uniform(state)
            radius = math.sqrt(-2.0 * math.log(u))
            photons = mean
            if mean < 16.0:
                product = uniform(state)
                limit = math.exp(-mean)
                count = 0
                while product > limit:
                    product *= uniform(state)
                    count += 1
                photons = count
            else:
                photons = mean + math.sqrt(mean) * radius * math.cos(2.0 * math.pi * v)
            value = photons + readnoise * radius * math.sin(2.0 * math.pi * v) + (light[i] - mean)
        data[i] = value
        stat[i] = (max(value, 0.0) if from_data else mean) + readnoise * readnoise


@njit(cache=True, nogil=True)
def add_cosmics(state, ncol, rate, data, hit):
    """Add straight cosmic-ray tracks; hit (bool[n]) is the truth. Returns the number of tracks."""
    nrow = data.size // ncol
    expected = rate * data.size
    n = int(expected)
    if uniform(state) < expected - n:
        n += 1
    for _ in range(n):
        x = uniform(state) * ncol
        y = uniform(state) * nrow
        angle = 2.0 * math.pi * uniform(state)
        length = 1 + int(-2.5 * math.log(uniform(state)))
        strength = 150.0 * uniform(state) ** -0.7
        for _step in range(min(length, 12)):
            ix, iy = int(x), int(y)
            if ix < 0 or iy < 0 or ix >= ncol or iy >= nrow:
                break
            data[iy * ncol + ix] += strength * (0.5 + uniform(state))
            hit[iy * ncol + ix] = True
            x += math.cos(angle)
            y += math.sin(angle)
    return n


@njit(cache=True, nogil=True)
def add_bad_pixels(state, fraction, data, dq):
    """Flag a fraction of the rows as hot, dark or other bad pixels and spoil their values."""
    if fraction <= 0.0:
        return
    i = -1
    scale = 1.0 / math.log(1.0 - fraction)
    while True:
        i += 1 + int(math.log(uniform(state)) * scale)
        if i >= data.size:
            return
        kind = uniform(state)
        if kind < 0.5:
            dq[i] |= 0x200
            data[i] += 500.0 + 3000.0 * uniform(state)
        elif kind < 0.8:
            dq[i] |= 0x100
            data[i] *= 0.2
        else:
            dq[i] |= 0x400
            data[i] += 200.0 * (uniform(state) - 0.5)


@njit(cache=True, nogil=True)
def extremes(values):
    """Smallest and largest value of a float32 array."""
    lo = values[0]
    hi = values[0]
    for i in range(values.size):
        if values[i] < lo:
            lo = values[i]
        if values[i] > hi:
            hi = values[i]
    return lo, hi
