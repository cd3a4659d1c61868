# SPDX-License-Identifier: BSD-3-Clause
"""Calibrations of the stored muse_twilight runs (see mini_set.py); `build` writes the whole set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from tests.twilight.mini_set import (
    QUAD,
    SCAN,
    Cfg,
    badpix,
    data_shape,
    exthdr,
    geometry,
    ifu_thru,
    illumination,
    primary,
    prnu,
    rng,
    trace_coeffs,
    wave_coeffs,
    write_raw,
)


def write_trace(cfg, path):
    hdus = [fits.PrimaryHDU(header=calhdr(cfg, "TRACE_TABLE"))]
    for chan in cfg.channels:
        tc = trace_coeffs(cfg, chan)
        cols = [
            fits.Column("SliceNo", "J", array=np.arange(1, 49)),
            fits.Column("Width", "E", unit="pix", array=tc[:, 2, 0] - tc[:, 1, 0]),
        ]
        for k in range(3):
            for j in range(6):
                cols.append(fits.Column(f"tc{k}_{j:02}", "D", unit="pix", array=tc[:, k, j]))
            cols.append(fits.Column(f"MSE{k}", "D", array=np.full(48, 0.001)))
        hdus.append(fits.BinTableHDU.from_columns(cols, header=exthdr(cfg, chan)))
    fits.HDUList(hdus).writeto(path)


def write_wavecal(cfg, path):
    hdus = [fits.PrimaryHDU(header=calhdr(cfg, "WAVECAL_TABLE"))]
    for chan in cfg.channels:
        wc = wave_coeffs(cfg, chan)
        cols = [fits.Column("SliceNo", "J", array=np.arange(1, 49))]
        for i in range(3):
            for j in range(7):
                cols.append(fits.Column(f"wlc{i}{j}", "D", unit="Angstrom", array=wc[:, i, j]))
        cols.append(fits.Column("MSE", "D", array=np.full(48, 0.0005)))
        hdus.append(fits.BinTableHDU.from_columns(cols, header=exthdr(cfg, chan)))
    fits.HDUList(hdus).writeto(path)


def write_geo(cfg, path):
    g = geometry(cfg)
    cols = [
        fits.Column(
            k,
            "J" if k.startswith("S") else "D",
            unit={"x": "pix", "y": "pix", "angle": "deg", "width": "pix"}.get(k),
            array=v,
        )
        for k, v in g.items()
    ]
    fits.HDUList(
        [fits.PrimaryHDU(header=calhdr(cfg, "GEOMETRY_TABLE")), fits.BinTableHDU.from_columns(cols)]
    ).writeto(path)


def write_badpix(cfg, path):
    hdus = [fits.PrimaryHDU(header=calhdr(cfg, "BADPIX_TABLE"))]
    for chan in cfg.channels:
        b = badpix(cfg, chan)
        x, y = b[:, 0].copy(), b[:, 1].copy()
        x += SCAN + np.where(x > cfg.nx, 2 * SCAN, 0)
        y += SCAN + np.where(y > cfg.ny, 2 * SCAN, 0)
        st = np.where(np.arange(len(b)) % 3 == 0, 256, np.where(np.arange(len(b)) % 3 == 1, 512, 1024))
        cols = [
            fits.Column("xpos", "J", unit="pix", array=x),
            fits.Column("ypos", "J", unit="pix", array=y),
            fits.Column("status", "J", array=st),
            fits.Column("value", "E", unit="count", array=np.zeros(len(b))),
        ]
        hdus.append(fits.BinTableHDU.from_columns(cols, header=exthdr(cfg, chan)))
    fits.HDUList(hdus).writeto(path)


def calhdr(cfg, catg):
    h = primary(cfg, "CAL", 1.0, 0)
    for k in ("ESO DPR CATG", "ESO DPR TECH", "ESO DPR TYPE"):
        del h[k]
    h["HIERARCH ESO PRO CATG"] = catg
    return h


# ------------------------------------------------------------------ master images
def overscan_level(cfg, chan, q):
    return cfg.bias[q - 1] + 0.1 * chan + 0.5 * cfg.biasslope


RECIPE_PARAMS = (("overscan", "vpoly"), ("ovscreject", "dcr"), ("ovscsigma", "30"), ("ovscignore", "3"))


def master_header(cfg, chan, kind):
    h = fits.Header()
    e = "HIERARCH ESO "
    h[e + "PRO REC1 ID"] = {"bias": "muse_bias", "dark": "muse_dark", "flat": "muse_flat"}[kind]
    h[e + "PRO REC1 DRS ID"] = "cpl-7.2.3"
    h[e + "PRO REC1 PIPE ID"] = "muse/2.8.7"
    par = dict(RECIPE_PARAMS)
    par["overscan"] = cfg.overscan
    for i, (k, v) in enumerate([("nifu", str(chan))] + list(par.items())):
        h[e + f"PRO REC1 PARAM{i + 1} NAME"] = k
        dflt = {"nifu": "0", "overscan": "'vpoly'", "ovscreject": "'dcr'"}.get(k, str(v))
        h[e + f"PRO REC1 PARAM{i + 1} VALUE"] = (str(v), "Default: " + dflt)
    if kind == "bias":
        for q in (1, 2, 3, 4):
            h[e + f"QC BIAS MASTER{q} RON"] = cfg.ron[q - 1] * 1.01
            h[e + f"QC BIAS MASTER{q} RONERR"] = 0.05
            h[e + f"QC BIAS MASTER{q} MEAN"] = (
                0.0 if par["overscan"] == "vpoly" else overscan_level(cfg, chan, q)
            )
    if kind == "flat":
        h[e + "QC FLAT MASTER INTFLUX"] = 3.0e10 * float(ifu_thru(cfg)[chan - 1])
    for q in (1, 2, 3, 4):
        h[e + f"DRS MUSE OVSC{q} MEAN"] = overscan_level(cfg, chan, q)
        h[e + f"DRS MUSE OVSC{q} STDEV"] = 2.6
    return h


def master_images(cfg, chan, kind):
    """data (float32), dq (int32), stat (float32) on the trimmed detector, and unit"""
    h, w = data_shape(cfg)
    g = rng(cfg, {"bias": 20, "dark": 21, "flat": 22}[kind], chan)
    dq = np.zeros((h, w), np.int32)
    if kind == "bias":
        vpoly = cfg.overscan == "vpoly"
        data = np.zeros((h, w))
        stat = np.zeros((h, w))
        for q in (1, 2, 3, 4):
            r, t = QUAD[q]
            s = (slice(t * cfg.ny, (t + 1) * cfg.ny), slice(r * cfg.nx, (r + 1) * cfg.nx))
            ron = cfg.ron[q - 1] / cfg.gain[q - 1]
            data[s] = g.standard_normal((cfg.ny, cfg.nx)) * ron / 3
            if not vpoly:
                data[s] += overscan_level(cfg, chan, q)
            stat[s] = ron**2 / 9
        dq[h // 3, w // 3 : w // 3 + 5] = 2048
        return data.astype(np.float32), dq, stat.astype(np.float32), "adu"
    if kind == "dark":
        data = 1.0 + 0.3 * g.standard_normal((h, w))
        hot = g.random((h, w)) < 2e-5
        data[hot] += 500.0
        dq[hot] = 512
        stat = np.full((h, w), 0.09)
        return data.astype(np.float32), dq, stat.astype(np.float32), "count"
    ill = illumination(cfg, chan, "lamp", 1.0)
    data = ill / np.mean(ill[ill > 0.3 * ill.max()]) * prnu(cfg, chan)
    data *= 1 + 0.002 * g.standard_normal((h, w))
    stat = np.maximum(data, 1e-3) * 4e-6
    neg = g.random((h, w)) < 1e-5
    data[neg] = -0.01
    dq[neg] = 256
    b = badpix(cfg, chan)
    dq[b[::5, 1] - 1, b[::5, 0] - 1] |= 1024
    return data.astype(np.float32), dq, stat.astype(np.float32), "count"


def write_master(cfg, path, kind):
    """A master image of all IFUs in one file."""
    header = calhdr(cfg, "MASTER_" + kind.upper())
    if kind == "dark":
        header["EXPTIME"] = 1800.0
    hdus = [fits.PrimaryHDU(header=header)]
    for chan in cfg.channels:
        data, dq, stat, unit = master_images(cfg, chan, kind)
        for name, image, its_unit in (("DATA", data, unit), ("DQ", dq, None), ("STAT", stat, f"({unit})**2")):
            card = exthdr(cfg, chan)
            card.update(master_header(cfg, chan, kind))
            card["EXTNAME"] = f"CHAN{chan:02d}.{name}"
            if its_unit:
                card["BUNIT"] = its_unit
            hdus.append(fits.ImageHDU(image, card))
    fits.HDUList(hdus).writeto(path)


def build(folder: Path) -> None:
    """Write the set: sky0..2, illum0, master_* (biases in three ways), trace, wavecal, geo, badpix."""
    cfg = Cfg()
    for i in range(3):
        write_raw(cfg, folder / f"sky{i}.fits", "skyflat", i, 1.0 + 0.5 * i, 15000.0 * (1 + 0.2 * i), 1.5)
    write_raw(cfg, folder / "illum0.fits", "illum", 0, 0.35, 18000.0)
    for kind in ("bias", "dark", "flat"):
        write_master(cfg, folder / f"master_{kind}.fits", kind)
    for overscan in ("offset", "none"):
        write_master(Cfg(overscan=overscan), folder / f"master_bias_{overscan}.fits", "bias")
    write_trace(cfg, folder / "trace.fits")
    write_wavecal(cfg, folder / "wavecal.fits")
    write_geo(cfg, folder / "geo.fits")
    write_badpix(cfg, folder / "badpix.fits")
