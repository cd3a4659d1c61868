# SPDX-License-Identifier: BSD-3-Clause
"""Complete sets for muse_twilight: raw sky flats, ILLUM, masters, tables and the truth, channel by channel.

Only one channel is in memory at a time, so a set in real detector format needs about a GB.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from muse_core.simulate import raw_detector as detector
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.raw_instrument import RawSetup

BLOCK = 2880
SKY, LAMP = 1, 3
ILLUM_LEVEL, ILLUM_EXPTIME, DARK_EXPTIME = 18000.0, 0.35, 1800.0
OVERSCAN = {"overscan": "vpoly", "ovscreject": "dcr", "ovscsigma": "30", "ovscignore": "3"}


def append_image(path: Path, data: np.ndarray, header: fits.Header) -> None:
    """Append one image extension (float32, int32 or uint16) without reading the file."""
    unsigned = data.dtype == np.uint16
    bitpix = {"f": -32, "i": 32, "u": 16}[data.dtype.kind]
    full = fits.Header()
    full["XTENSION"] = "IMAGE"
    full["BITPIX"] = bitpix
    full["NAXIS"] = 2
    full["NAXIS1"], full["NAXIS2"] = data.shape[1], data.shape[0]
    full["PCOUNT"], full["GCOUNT"] = 0, 1
    if unsigned:
        full["BSCALE"], full["BZERO"] = 1, 32768
        data = (data.astype(np.int32) - 32768).astype(np.int16)
    full.extend(header)
    raw = data.astype(data.dtype.newbyteorder(">")).tobytes()
    with path.open("ab") as stream:
        stream.write(full.tostring().encode("ascii"))
        stream.write(raw)
        stream.write(b"\0" * (-len(raw) % BLOCK))


def primary_header(setup: RawSetup, number: int, exptime: float, kind: str) -> fits.Header:
    """Primary header of a raw frame (kind = DPR type) or a calibration (kind = product tag)."""
    h = fits.Header()
    cards = {
        "ORIGIN": "ESO-PARANAL",
        "TELESCOP": "ESO-VLT-U4",
        "INSTRUME": "MUSE",
        "SIMULATE": True,
        "OBJECT": kind,
        "RA": 120.0,
        "DEC": -25.0,
        "EQUINOX": 2000.0,
        "RADESYS": "FK5",
        "EXPTIME": exptime,
        "MJD-OBS": 57000.0 + 0.001 * number,
        "DATE-OBS": f"2014-12-09T00:{number % 60:02d}:26.400",
        "UTC": 60.0 * number,
        "LST": 20000.0 + 60.0 * number,
        "ARCFILE": f"MUSE.2014-12-09T00:{number % 60:02d}:26.400.fits",
        "ESO OBS ID": 1,
        "ESO OBS TARG NAME": "Twilight",
        "ESO INS MODE": setup.mode,
        "ESO INS DROT MODE": "STAT",
        "ESO INS DROT POSANG": 0.0,
        "ESO INS DROT START": 0.0,
        "ESO INS DROT END": 0.0,
        "ESO INS TEMP7 VAL": 12.0,
        "ESO INS TEMP11 VAL": 12.0,
        "ESO DET READ CURID": 1,
        "ESO DET READ CURNAME": "SCI1.0",
        "ESO DET BINX": 1,
        "ESO DET BINY": 1,
        "ESO TEL AIRM START": 1.1,
        "ESO TEL AIRM END": 1.1,
        "ESO TEL PARANG START": 10.0,
        "ESO TEL PARANG END": 10.0,
        "ESO TEL ALT": 65.0,
        "ESO TEL AMBI TEMP": 12.0,
        "ESO TEL AMBI RHUM": 10.0,
        "ESO TEL AMBI PRES START": 744.0,
        "ESO TEL AMBI PRES END": 744.0,
        "ESO TEL AMBI FWHM START": 0.8,
        "ESO TEL AMBI FWHM END": 0.8,
        "ESO OCS IPS PIXSCALE": 0.2,
    }
    raw = "," in kind or kind == "OBJECT"
    if raw:
        cards |= {"ESO DPR CATG": "CALIB", "ESO DPR TECH": "IFU", "ESO DPR TYPE": kind}
        cards["ESO TPL ID"] = "MUSE_wfm_cal_illum" if "ILLUM" in kind else "MUSE_wfm_cal_skyflat"
    else:
        cards["ESO PRO CATG"] = kind
    for key, value in cards.items():
        h[("HIERARCH " if key.startswith("ESO") else "") + key] = value
    return h


def channel_header(setup: RawSetup, ifu: int) -> fits.Header:
    """Extension header of one channel: chip and ports."""
    h = fits.Header()
    h["EXTNAME"] = f"CHAN{ifu:02d}"
    cards: dict[str, object] = {
        "BINX": 1,
        "BINY": 1,
        "CHIP NAME": f"CH{ifu:02d}",
        "CHIP ID": f"simulated-{ifu:02d}",
        "CHIP LIVE": True,
        "CHIP NX": 2 * setup.nx,
        "CHIP NY": 2 * setup.ny,
        "OUTPUTS": 4,
    }
    for port, (right, top) in detector.PORTS.items():
        cards |= {
            f"OUT{port} ID": "ABCD"[port - 1],
            f"OUT{port} X": 4096 if right else 1,
            f"OUT{port} Y": 4112 if top else 1,
            f"OUT{port} NX": setup.nx,
            f"OUT{port} NY": setup.ny,
            f"OUT{port} PRSCX": setup.prescan,
            f"OUT{port} PRSCY": setup.prescan,
            f"OUT{port} OVSCX": setup.overscan,
            f"OUT{port} OVSCY": setup.overscan,
            f"OUT{port} GAIN": setup.gain[port - 1],
            f"OUT{port} RON": setup.ron[port - 1],
        }
    for key, value in cards.items():
        h[f"HIERARCH ESO DET {key}"] = value
    return h


def master_header(setup: RawSetup, ifu: int, kind: str, overscan: str) -> fits.Header:
    """Keywords that the pipeline reads from a master frame of one IFU."""
    h = fits.Header()
    h["HIERARCH ESO PRO REC1 ID"] = f"muse_{kind}"
    h["HIERARCH ESO PRO REC1 DRS ID"] = "cpl-7.2.3"
    h["HIERARCH ESO PRO REC1 PIPE ID"] = "muse/2.8.7"
    for i, (name, value) in enumerate((OVERSCAN | {"overscan": overscan}).items(), 1):
        h[f"HIERARCH ESO PRO REC1 PARAM{i} NAME"] = name
        h[f"HIERARCH ESO PRO REC1 PARAM{i} VALUE"] = value
    if kind == "flat":
        h["HIERARCH ESO QC FLAT MASTER INTFLUX"] = 3e10 * instrument.ifu_throughput(setup)[ifu]
    for port in detector.PORTS:
        if kind == "bias":
            h[f"HIERARCH ESO QC BIAS MASTER{port} RON"] = setup.ron[port - 1]
        h[f"HIERARCH ESO DRS MUSE OVSC{port} MEAN"] = detector.overscan_level(setup, ifu, port)
        h[f"HIERARCH ESO DRS MUSE OVSC{port} STDEV"] = setup.ron[port - 1] / setup.gain[port - 1]
    return h


class _Masters:
    """Master files, merged or one per IFU."""

    def __init__(self, setup: RawSetup, folder: Path, merged: bool, overscan: str):
        self.setup, self.folder, self.merged, self.overscan = setup, folder, merged, overscan
        self.files: list[tuple[Path, str]] = []

    def _start(self, kind: str, ifu: int) -> Path:
        path = self.folder / (f"master_{kind}.fits" if self.merged else f"master_{kind}-{ifu:02d}.fits")
        if not any(path == done for done, _ in self.files):
            exptime = DARK_EXPTIME if kind == "dark" else 1.0
            header = primary_header(self.setup, 40, exptime, f"MASTER_{kind.upper()}")
            if not self.merged:
                header.extend(channel_header(self.setup, ifu))
                header.update(master_header(self.setup, ifu, kind, self.overscan))
            fits.PrimaryHDU(header=header).writeto(path, overwrite=True)
            self.files.append((path, f"MASTER_{kind.upper()}"))
        return path

    def write(self, kind: str, ifu: int, planes: Any) -> None:
        path = self._start(kind, ifu)
        unit = "adu" if kind == "bias" else "count"
        for name, data in zip(("DATA", "DQ", "STAT"), planes, strict=True):
            header = fits.Header()
            if self.merged:
                header = channel_header(self.setup, ifu)
                header.update(master_header(self.setup, ifu, kind, self.overscan))
            header["EXTNAME"] = f"CHAN{ifu:02d}.{name}" if self.merged else name
            if name != "DQ":
                header["BUNIT"] = unit if name == "DATA" else f"({unit})**2"
            append_image(path, data, header)


def _table(path: Path, setup: RawSetup, tag: str, tables: list[fits.BinTableHDU]) -> tuple[Path, str]:
    primary = fits.PrimaryHDU(header=primary_header(setup, 41, 1.0, tag))
    fits.HDUList([primary, *tables]).writeto(path, overwrite=True)
    return path, tag


def trace_table(setup: RawSetup, ifu: int) -> fits.BinTableHDU:
    t = instrument.trace_polynomials(setup, ifu)
    columns = [
        fits.Column("SliceNo", "J", array=np.arange(1, 49)),
        fits.Column("Width", "E", unit="pix", array=t[:, 2, 0] - t[:, 1, 0]),
    ]
    for k in range(3):
        columns += [
            fits.Column(f"tc{k}_{j:02d}", "D", unit="pix", array=t[:, k, j]) for j in range(t.shape[2])
        ]
        columns.append(fits.Column(f"MSE{k}", "D", unit="pix", array=np.full(48, 1e-3)))
    return fits.BinTableHDU.from_columns(columns, header=channel_header(setup, ifu))


def wave_table(setup: RawSetup, ifu: int) -> fits.BinTableHDU:
    w = instrument.wave_polynomials(setup, ifu)
    columns = [fits.Column("SliceNo", "J", unit="No", array=np.arange(1, 49))]
    columns += [
        fits.Column(f"wlc{i}{j}", "D", unit="Angstrom", array=w[:, i, j]) for i in range(3) for j in range(7)
    ]
    columns.append(fits.Column("MSE", "D", array=np.full(48, 5e-4)))
    return fits.BinTableHDU.from_columns(columns, header=channel_header(setup, ifu))


def badpix_table(setup: RawSetup, ifu: int) -> fits.BinTableHDU:
    bad = detector.bad_pixels(setup, ifu)
    y, x = bad[:, 0] + 1, bad[:, 1] + 1
    inner = 2 * setup.overscan
    x = x + setup.prescan + np.where(x > setup.nx, inner, 0)
    y = y + setup.prescan + np.where(y > setup.ny, inner, 0)
    status = np.array([0x100, 0x200, 0x400])[np.arange(len(bad)) % 3]
    columns = [
        fits.Column("xpos", "J", unit="pix", array=x),
        fits.Column("ypos", "J", unit="pix", array=y),
        fits.Column("status", "J", array=status),
        fits.Column("value", "E", unit="count", array=np.zeros(len(bad))),
    ]
    return fits.BinTableHDU.from_columns(columns, header=channel_header(setup, ifu))


def write_vignetting_mask(path: Path, setup: RawSetup) -> tuple[Path, str]:
    """Mask of the corner that `raw_instrument.sky_illumination` darkens, a little larger than the field."""
    half_x, half_y = setup.half_field
    nx, ny = int(2 * half_x) + 8, int(2 * half_y) + 8
    y, x = np.mgrid[1 : ny + 1, 1 : nx + 1]
    radius = 2.6 * (0.16 * min(half_x, half_y) + 4.0)
    mask = (np.hypot(x - nx, y - ny) < radius).astype(np.int32)
    header = primary_header(setup, 41, 1.0, "VIGNETTING_MASK")
    fits.PrimaryHDU(mask, header=header).writeto(path, overwrite=True)
    return path, "VIGNETTING_MASK"


def write_truth(path: Path, setup: RawSetup, steps: int = 9) -> Path:
    """Illumination that went in: a cube over the field, the IFU factors, and the setup as JSON in HISTORY."""
    half_x, half_y = setup.half_field
    middle = 0.5 * (setup.ifu_centre(min(setup.ifus)) + setup.ifu_centre(max(setup.ifus)))
    x = np.arange(-np.ceil(half_x), np.ceil(half_x) + 1)
    y = middle + np.arange(-np.ceil(half_y), np.ceil(half_y) + 1)
    lam = np.linspace(5000.0, 9000.0, steps)
    cube = instrument.sky_illumination(setup, x[None, None], y[None, :, None], lam[:, None, None])
    image = fits.ImageHDU(cube.astype(np.float32), name="ILLUMINATION")
    for axis, (values, kind) in enumerate(((x, "PIXEL"), (y, "PIXEL"), (lam, "AWAV")), 1):
        image.header[f"CTYPE{axis}"], image.header[f"CRPIX{axis}"] = kind, 1.0
        image.header[f"CRVAL{axis}"], image.header[f"CDELT{axis}"] = values[0], values[1] - values[0]
    through = instrument.ifu_throughput(setup)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("ifu", "J", array=np.array(setup.ifus)),
            fits.Column("throughput", "D", array=np.array([through[i] for i in setup.ifus])),
            fits.Column(
                "slice_change", "48D", array=np.array([instrument.illum_change(setup, i) for i in setup.ifus])
            ),
        ],
        name="THROUGHPUT",
    )
    primary = fits.PrimaryHDU()
    for line in json.dumps(asdict(setup), indent=0).splitlines():
        primary.header["HISTORY"] = line
    fits.HDUList([primary, image, table]).writeto(path, overwrite=True)
    return path


def simulate_raw(
    folder: Path | str,
    setup: RawSetup,
    *,
    skyflats: int = 3,
    illum: bool = True,
    dark: bool = True,
    badpix: bool = True,
    merged: bool = True,
    overscan: str = "vpoly",
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> Path:
    """Write a complete set and its set-of-frames file.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    setup : RawSetup
    skyflats : int
        Number of SKYFLAT exposures; they get longer and brighter one after the other.
    illum, dark, badpix : bool
        Optional inputs to write.
    merged : bool
        Masters in one file each, or one file per IFU.
    overscan : str
        How the master bias was made; with "none" or "offset" it holds the bias level.
    progress : callable
        Wraps the loop over IFUs.

    Returns
    -------
    Path
        The set-of-frames file ``twilight.sof``; file names in it are relative to the folder.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[tuple[Path, str]] = []
    exposures = [
        (folder / f"sky{i}.fits", 1.0 + 0.5 * i, setup.level * (1 + 0.2 * i)) for i in range(skyflats)
    ]
    for i, (path, exptime, _) in enumerate(exposures):
        fits.PrimaryHDU(header=primary_header(setup, i + 1, exptime, "FLAT,SKY")).writeto(
            path, overwrite=True
        )
        files.append((path, "SKYFLAT"))
    lamp_path = folder / "illum.fits"
    if illum:
        header = primary_header(setup, 30, ILLUM_EXPTIME, "FLAT,LAMP,ILLUM")
        fits.PrimaryHDU(header=header).writeto(lamp_path, overwrite=True)
        files.append((lamp_path, "ILLUM"))
    masters = _Masters(setup, folder, merged, overscan)
    for ifu in progress(setup.ifus):
        sky, lamp = instrument.light_on_detector(setup, ifu)
        response = detector.pixel_response(setup, ifu)
        dark_light = detector.dark_image(setup, ifu)
        header = channel_header(setup, ifu)
        for i, (path, exptime, level) in enumerate(exposures):
            signal = sky * response * np.float32(level) + dark_light * np.float32(exptime / DARK_EXPTIME)
            append_image(path, detector.read_out(setup, ifu, i, signal, SKY), header)
        if illum:
            signal = instrument.lamp_with_change(setup, ifu, lamp) * response * np.float32(ILLUM_LEVEL)
            append_image(lamp_path, detector.read_out(setup, ifu, 0, signal, LAMP), header)
        masters.write("bias", ifu, detector.master_bias(setup, ifu, overscan != "vpoly"))
        if dark:
            masters.write("dark", ifu, detector.master_dark(setup, ifu))
        masters.write("flat", ifu, detector.master_flat(setup, ifu, lamp, response))
    files += masters.files
    files.append(
        _table(folder / "trace.fits", setup, "TRACE_TABLE", [trace_table(setup, i) for i in setup.ifus])
    )
    files.append(
        _table(folder / "wavecal.fits", setup, "WAVECAL_TABLE", [wave_table(setup, i) for i in setup.ifus])
    )
    columns = instrument.geometry_columns(setup)
    geometry = fits.BinTableHDU.from_columns(
        [fits.Column(k, "J" if k.startswith("S") else "D", array=v) for k, v in columns.items()]
    )
    files.append(_table(folder / "geometry.fits", setup, "GEOMETRY_TABLE", [geometry]))
    if badpix:
        tables = [badpix_table(setup, i) for i in setup.ifus]
        files.append(_table(folder / "badpix.fits", setup, "BADPIX_TABLE", tables))
    if setup.vignetting and not setup.mode.startswith("NFM"):
        files.append(write_vignetting_mask(folder / "vignetting.fits", setup))
    write_truth(folder / "truth.fits", setup)
    sof = folder / "twilight.sof"
    sof.write_text("".join(f"{path.name} {tag}\n" for path, tag in files), encoding="utf-8")
    return sof
