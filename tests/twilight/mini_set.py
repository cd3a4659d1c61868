# SPDX-License-Identifier: BSD-3-Clause
"""Raw frames of the stored muse_twilight runs: sky flats and a lamp flat of 3 small IFUs, from seeds.

The C recipe was run on exactly these files (and those of mini_calibrations.py), so every random number, its
order and its generator (PCG64) belong to the stored products: change nothing here that moves a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits

NSLICE = 48
SCAN = 32
HITS = 6  # cosmic hits in the overscan of a quadrant


@dataclass(frozen=True)
class Cfg:
    """The instrument: seed, IFUs, pixels of one quadrant, and properties of the four quadrants."""

    seed: int = 1
    channels: tuple = (1, 2, 3)
    nx: int = 512
    ny: int = 128
    mode: str = "WFM-NOAO-N"
    lmin: float = 4600.0
    lmax: float = 9400.0
    gain: tuple = (1.10, 1.08, 1.12, 1.09)  # count/adu
    ron: tuple = (2.8, 3.0, 2.6, 2.9)  # count
    bias: tuple = (1500.0, 1400.0, 1600.0, 1450.0)  # adu
    biasslope: float = 3.0  # adu, over the height of a quadrant
    ncr: int = 40  # bright hits per frame and channel
    overscan: str = "vpoly"  # how the master bias was made


def rng(cfg, *key):
    return np.random.Generator(np.random.PCG64([cfg.seed, *key]))


# ------------------------------------------------------------------ geometry of the detector
def raw_shape(cfg):
    return 2 * (cfg.ny + 2 * SCAN), 2 * (cfg.nx + 2 * SCAN)


def data_shape(cfg):
    return 2 * cfg.ny, 2 * cfg.nx


def trace_coeffs(cfg, chan):
    """(48, 3, 6) coefficients of centre, left, right edges as function of y (1-based)."""
    w = 2 * cfg.nx / NSLICE
    h = 2 * cfg.ny
    out = np.zeros((NSLICE, 3, 6))
    for s in range(NSLICE):
        wid = w * 0.89 * (1 + 0.01 * np.sin(s * 0.7 + chan))
        c0 = w * (s + 0.5) + 0.5 + 0.15 * np.sin(s + 2.0 * chan)
        amp = 0.01 * w * (s - 23.5) / 24
        # curvature in normalised v=(y-h/2)/(h/2)  -> expand to powers of y
        v = np.poly1d([2.0 / h, -1.0])
        pc = v * v * float(amp) + v * 0.02 + v**3 * 0.01 + v**4 * 0.004 + v**5 * 0.002 + float(c0)
        pw = v * 0.05 + float(wid) / 2
        for k, p in enumerate((pc + 0.05, pc - pw, pc + pw)):
            c = p.coeffs[::-1]
            out[s, k, : len(c)] = c
    return out


def wave_coeffs(cfg, chan):
    """(48, 3, 7) coefficients lambda = sum c[i][j] x^i y^j."""
    h = 2.0 * cfg.ny
    d = (cfg.lmax - cfg.lmin) / h
    out = np.zeros((NSLICE, 3, 7))
    tc = trace_coeffs(cfg, chan)
    for s in range(NSLICE):
        xm = tc[s, 0, 0]
        off = 2.0 * d * np.sin(s * 1.3) + 0.7 * d * (chan % 5)
        # constant, linear, mild quadratic; tilt and bend across the slice
        a = 0.3 * d / cfg.nx * 24
        b = 0.02 * d / (cfg.nx * 2 / 96) ** 2
        c = out[s]
        c[0, 0] = cfg.lmin + off - a * xm + b * xm * xm
        c[1, 0] = a - 2 * b * xm
        c[2, 0] = b
        c[0, 1] = d * 1.01
        c[0, 2] = -0.012 * d / h
        c[0, 3] = 0.002 * d / h**2
        c[0, 4] = 1e-4 * d / h**3
        c[0, 5] = 1e-5 * d / h**4
        c[0, 6] = 1e-6 * d / h**5
        c[1, 1] = 1e-4 * a / h
        c[2, 1] = 1e-5 * b / h
    return out


def sky_order():
    """SliceSky number (1..48) for each SliceCCD number (1..48); simple but non-trivial permutation.
    SliceSky 1-12 = stack 1 (rightmost) ... 37-48 = stack 4."""
    perm = np.zeros(NSLICE, int)
    for s in range(NSLICE):
        stack = [2, 1, 3, 0][s % 4]
        row = (s // 4) * 5 % 12
        perm[s] = stack * 12 + row + 1
    return perm


def geometry(cfg):
    """rows of the geometry table for all 24 IFUs."""
    cols = {k: [] for k in ("SubField", "SliceCCD", "SliceSky", "x", "y", "angle", "width")}
    sk = sky_order()
    for chan in range(1, 25):
        for s in range(NSLICE):
            ss = sk[s]
            stack, row = (ss - 1) // 12, (ss - 1) % 12
            xc = (1.5 - stack) * 75.4 + 0.3 * np.sin(chan + stack) + 0.02 * row
            yc = (12.5 - chan) * 12.1 + (5.5 - row) * 1.005 + 0.05 * np.cos(stack + row)
            cols["SubField"].append(chan)
            cols["SliceCCD"].append(s + 1)
            cols["SliceSky"].append(int(ss))
            cols["x"].append(xc)
            cols["y"].append(yc)
            cols["angle"].append(0.2 * np.sin(0.4 * chan + stack) + 0.01 * row)
            cols["width"].append(75.0 + 0.3 * np.cos(row + chan))
    return {k: np.array(v) for k, v in cols.items()}


# ------------------------------------------------------------------ light on the detector
def illumination(cfg, chan, kind="sky", level=20000.0, drift=None):
    """noise-free electrons (count) per pixel on the trimmed detector."""
    h, w = data_shape(cfg)
    y = np.arange(1, h + 1, dtype=float)
    img = np.zeros((h, w))
    tc = trace_coeffs(cfg, chan)
    wc = wave_coeffs(cfg, chan)
    g = geometry(cfg)
    sel = g["SubField"] == chan
    gx, gy, gw, ga = (g[k][sel] for k in ("x", "y", "width", "angle"))
    x = np.arange(1, w + 1, dtype=float)
    for s in range(NSLICE):
        cen, lef, rig = (np.polyval(tc[s, k][::-1], y) for k in range(3))
        x1 = max(int(np.floor(lef.min())) - 3, 1)
        x2 = min(int(np.ceil(rig.max())) + 3, w)
        xs = x[x1 - 1 : x2]
        X, Y = np.meshgrid(xs, y)
        lam = np.polyval([0], X)
        for i in range(3):
            lam = lam + X**i * np.polyval(wc[s, i][::-1], Y)
        u = (X - cen[:, None]) / (rig - lef)[:, None]  # -0.5..0.5 in the slice
        edge = 0.5 * (np.tanh((X - lef[:, None]) / 0.6) - np.tanh((X - rig[:, None]) / 0.6))
        fx = gx[s] + u * gw[s] * np.cos(np.deg2rad(ga[s]))
        fy = gy[s] + u * gw[s] * np.sin(np.deg2rad(ga[s]))
        spec = np.exp(-0.5 * ((lam - 6500) / 1800) ** 2) * (1 + 0.05 * np.sin(lam / 37.0))
        spec *= 1 - 0.5 * np.exp(-0.5 * ((lam - 7605) / 20) ** 2)
        f = level * spec * edge
        if kind == "sky":
            f *= (
                1
                + 0.05 * fx / 150
                + 0.03 * fy / 150
                - 0.02 * (fx / 150) ** 2
                + 2e-5 * (lam - 7000) * fx / 150
            )
        f *= slice_thru(cfg, chan)[s]
        if drift is not None:
            f *= drift[s]
        img[:, x1 - 1 : x2] += f
    img += 0.02 * level * np.exp(-0.5 * ((np.arange(h)[:, None] / h - 0.4) / 0.5) ** 2)  # scattered light
    return img * ifu_thru(cfg)[chan - 1]


def slice_thru(cfg, chan):
    return 1 + 0.05 * rng(cfg, 900, chan).standard_normal(NSLICE)


def illum_drift(cfg, chan):
    """relative change of the slice illumination seen by the attached flat"""
    return 1 + 0.05 * rng(cfg, 904, chan).standard_normal(NSLICE)


def ifu_thru(cfg):
    return 1 + 0.04 * rng(cfg, 901).standard_normal(24)


def prnu(cfg, chan):
    """pixel response of the trimmed detector."""
    h, w = data_shape(cfg)
    r = 1 + 0.01 * rng(cfg, 902, chan).standard_normal((h, w))
    bad = badpix(cfg, chan)
    r[bad[:, 1] - 1, bad[:, 0] - 1] *= 0.3
    return r


def badpix(cfg, chan):
    """(n,2) positions (x,y), 1-based, trimmed."""
    h, w = data_shape(cfg)
    n = max(10, h * w // 20000)
    r = rng(cfg, 903, chan)
    p = np.stack([r.integers(1, w + 1, n), r.integers(1, h + 1, n)], 1)
    # one short vertical trap
    x0 = 2 * cfg.nx // 3
    col = np.stack([np.full(12, x0), np.arange(20, 32)], 1)
    return np.unique(np.concatenate([p, col]), axis=0)


# ------------------------------------------------------------------ raw frames
QUAD = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1)}  # OUT number -> (right?, top?)


def quad_windows(cfg, q):
    """slices into the raw frame of the full quadrant, of the data section."""
    r, t = QUAD[q]
    fx, fy = cfg.nx + 2 * SCAN, cfg.ny + 2 * SCAN
    full = (slice(t * fy, (t + 1) * fy), slice(r * fx, (r + 1) * fx))
    data = (slice(t * fy + SCAN, t * fy + SCAN + cfg.ny), slice(r * fx + SCAN, r * fx + SCAN + cfg.nx))
    return full, data


def to_raw(cfg, chan, expo, signal, kind_id, biasoff=0.0):
    """signal: electrons on trimmed detector (noise-free) -> uint16 raw frame."""
    rs = raw_shape(cfg)
    g = rng(cfg, kind_id, chan, expo)
    e = g.poisson(np.clip(signal, 0, None)).astype(float)
    if cfg.ncr and kind_id in (1, 4):
        h, w = e.shape
        e[g.integers(0, h, cfg.ncr), g.integers(0, w, cfg.ncr)] += g.uniform(2000, 30000, cfg.ncr)
    raw = np.zeros(rs)
    for q in (1, 2, 3, 4):
        r, t = QUAD[q]
        full, data = quad_windows(cfg, q)
        hh = full[0].stop - full[0].start
        yy = np.arange(hh, dtype=float)
        if t:
            yy = yy[::-1]  # distance from the read-out corner
        v = yy / hh
        level = cfg.bias[q - 1] + biasoff + cfg.biasslope * (v - 0.3 * v**2)
        level = level + 0.4 * expo + 0.1 * chan
        raw[full] += level[:, None]
        sub = e[t * cfg.ny : (t + 1) * cfg.ny, r * cfg.nx : (r + 1) * cfg.nx]
        raw[data] += sub / cfg.gain[q - 1]
        raw[full] += g.standard_normal(raw[full].shape) * cfg.ron[q - 1] / cfg.gain[q - 1]
        # cosmic hits in the overscan (tests of the rejection)
        yyi = g.integers(full[0].start, full[0].stop, HITS)
        xo = g.integers(0, SCAN, HITS) + (full[1].stop - SCAN if r == 0 else full[1].start)
        raw[yyi, xo] += g.uniform(50, 3000, HITS)
    return np.clip(np.rint(raw), 0, 65535).astype(np.uint16)


def primary(cfg, dprtype, exptime, expo, dprcatg="CALIB", tpl="MUSE_wfm_cal_skyflat"):
    h = fits.Header()
    h["ORIGIN"] = "ESO-PARANAL"
    h["TELESCOP"] = "ESO-VLT-U4"
    h["INSTRUME"] = "MUSE"
    h["OBJECT"] = dprtype
    h["RA"] = 120.0 + 0.01 * expo
    h["DEC"] = -25.0
    h["EQUINOX"] = 2000.0
    h["RADECSYS"] = "FK5"
    h["EXPTIME"] = exptime
    h["MJD-OBS"] = 57000.0 + expo * 0.001
    h["DATE-OBS"] = f"2014-12-09T00:{expo + 1:02}:26.400"
    h["UTC"] = 60.0 * expo
    h["LST"] = 20000.0 + 60 * expo
    h["ORIGFILE"] = f"MUSE_TEST{expo:03}.fits"
    h["ARCFILE"] = f"MUSE.2014-12-09T00:{expo + 1:02}:26.400.fits"
    e = "HIERARCH ESO "
    h[e + "DPR CATG"] = dprcatg
    h[e + "DPR TECH"] = "IFU"
    h[e + "DPR TYPE"] = dprtype
    h[e + "TPL ID"] = tpl
    h[e + "OBS ID"] = 1234
    h[e + "OBS PROG ID"] = "60.A-9100(A)"
    h[e + "OBS TARG NAME"] = "Twilight"
    h[e + "INS MODE"] = cfg.mode
    h[e + "INS DROT MODE"] = "STAT"
    h[e + "INS DROT POSANG"] = 0.0
    h[e + "INS DROT START"] = 0.0
    h[e + "INS DROT END"] = 0.0
    h[e + "DET READ CURID"] = 1
    h[e + "DET READ CURNAME"] = "SCI1.0"
    h[e + "DET BINX"] = 1
    h[e + "DET BINY"] = 1
    h[e + "TEL AIRM START"] = 1.1
    h[e + "TEL AIRM END"] = 1.1
    h[e + "TEL PARANG START"] = 10.0
    h[e + "TEL PARANG END"] = 10.0
    h[e + "TEL ALT"] = 65.0
    h[e + "TEL AMBI TEMP"] = 12.0
    h[e + "TEL AMBI RHUM"] = 10.0
    h[e + "TEL AMBI PRES START"] = 744.0
    h[e + "TEL AMBI PRES END"] = 744.0
    h[e + "TEL AMBI FWHM START"] = 0.8
    h[e + "TEL AMBI FWHM END"] = 0.8
    h[e + "OCS IPS PIXSCALE"] = 0.2
    h[e + "INS TEMP11 VAL"] = 12.0
    for i in (7, 11):
        h[e + f"INS TEMP{i} VAL"] = 12.0
    return h


def exthdr(cfg, chan):
    h = fits.Header()
    h["EXTNAME"] = f"CHAN{chan:02}"
    e = "HIERARCH ESO "
    h[e + "DET BINX"] = 1
    h[e + "DET BINY"] = 1
    h[e + "DET CHIP NAME"] = f"CH{chan:02}"
    h[e + "DET CHIP ID"] = f"ccd231-84-{chan:02}"
    h[e + "DET CHIP DATE"] = "2011-03-03"
    h[e + "DET CHIP LIVE"] = True
    h[e + "DET CHIP NX"] = 2 * cfg.nx
    h[e + "DET CHIP NY"] = 2 * cfg.ny
    h[e + "DET OUTPUTS"] = 4
    corner_x, corner_y = (1, 4096), (1, 4112)
    for q in (1, 2, 3, 4):
        r, t = QUAD[q]
        o = e + f"DET OUT{q} "
        h[o + "ID"] = "ABCD"[q - 1]
        h[o + "X"] = corner_x[r]
        h[o + "Y"] = corner_y[t]
        h[o + "NX"] = cfg.nx
        h[o + "NY"] = cfg.ny
        h[o + "PRSCX"] = SCAN
        h[o + "PRSCY"] = SCAN
        h[o + "OVSCX"] = SCAN
        h[o + "OVSCY"] = SCAN
        h[o + "CONAD"] = round(1.0 / cfg.gain[q - 1], 4)
        h[o + "GAIN"] = cfg.gain[q - 1]
        h[o + "RON"] = cfg.ron[q - 1]
    return h


def write_raw(cfg, path, kind, expo, exptime, level, biasoff=0.0):
    """A raw frame: kind `skyflat` or `illum`."""
    sky = kind == "skyflat"
    header = primary(
        cfg,
        "FLAT,SKY" if sky else "FLAT,LAMP,ILLUM",
        exptime,
        expo if sky else expo + 30,
        tpl="MUSE_wfm_cal_skyflat" if sky else "MUSE_wfm_cal_illum",
    )
    hdus = [fits.PrimaryHDU(header=header)]
    for chan in cfg.channels:
        light = illumination(cfg, chan, "sky" if sky else "lamp", level, illum_drift(cfg, chan)) * prnu(
            cfg, chan
        )
        raw = to_raw(cfg, chan, expo, light, 1 if sky else 3, biasoff)
        hdus.append(fits.ImageHDU(raw, exthdr(cfg, chan)))
    fits.HDUList(hdus).writeto(path)
