# SPDX-License-Identifier: BSD-3-Clause
"""A simulated night as the archive would deliver it: raw frames, long-term and static files, masters.

    OUT/raw      MUSE.<date>.fits, some packed or renamed as browsers do
    OUT/static   general calibrations under archive names, with the dates that mislead
    OUT/master   what a pipeline makes of the day calibrations, a file per IFU

Small detectors by default (two IFUs, 40 MB); every header carries SIMULATE = T.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.simulate import calibrations as cal
from muse_core.simulate import night_light as light
from muse_core.simulate import raw_detector as detector
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.arcs import write_line_catalog
from muse_core.simulate.headers import date_of
from muse_core.simulate.lsf import lsf_parameters
from muse_core.simulate.night_scenes import write_references
from muse_core.simulate.night_schedule import DAY_MODE, NightFrame, NightSetup, frame_header, schedule
from muse_core.simulate.raw import (
    append_image,
    badpix_table,
    channel_header,
    master_header,
    primary_header,
    trace_table,
    wave_table,
)
from muse_core.simulate.scipost import astrometric_solution

MASTERS = ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE")
_RAW_OF = dict(zip(MASTERS, ("BIAS", "DARK", "FLAT", "FLAT", "ARC"), strict=True))
_KIND = dict(zip(MASTERS, ("bias", "dark", "flat", "flat", "wavecal"), strict=True))


def simulate_night(
    folder: str | Path, night: NightSetup | None = None, *, masters: bool = True
) -> list[Path]:
    """Write a night; returns the raw frames.

    Parameters
    ----------
    folder : made if missing
    masters : also write what a pipeline would make of the calibrations
    """
    night = night or NightSetup()
    root = Path(folder)
    frames = schedule(night)
    paths = write_raw(root / "raw", night, frames)
    if night.scenes:
        write_common(root / "static", night)
        write_references(root, night, frames)
    else:
        write_static(root / "static", night)
    if masters:
        write_masters(root / "master", night, frames)
    if night.traps:
        _set_traps(root, paths, frames)
    return sorted((root / "raw").glob("MUSE.*"))


def write_raw(folder: Path, night: NightSetup, frames: Iterable[NightFrame]) -> list[Path]:
    """Write raw frames, IFU by IFU, so that only one detector is in memory."""
    folder.mkdir(parents=True, exist_ok=True)
    frames = list(frames)
    paths = [folder / frame.archive_name for frame in frames]
    for path, frame in zip(paths, frames, strict=True):
        fits.PrimaryHDU(header=frame_header(night, frame)).writeto(path, overwrite=True)
    for ifu in night.raw.ifus:
        header = channel_header(night.raw, ifu)
        for path, frame in zip(paths, frames, strict=True):
            hits = frame.tag not in ("BIAS", "FLAT", "ARC", "ILLUM")
            image = light.signal(night, frame, ifu)
            append_image(path, detector.read_out(night.raw, ifu, frame.seed, image, 5, hits=hits), header)
    return paths


def _identified(hdus: fits.HDUList, path: Path) -> Path:
    """Write a product with the sum of its data in the header, as the pipeline does."""
    digest = hashlib.md5(usedforsecurity=False)
    for hdu in hdus:
        if hdu.data is not None:
            digest.update(np.ascontiguousarray(hdu.data).tobytes())
    hdus[0].header["DATAMD5"] = digest.hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    hdus.writeto(path, overwrite=True)
    return path


def write_masters(folder: Path, night: NightSetup, frames: list[NightFrame]) -> None:
    """Write the masters of the day calibrations, a file per IFU, naming what they were made from."""
    for ifu in night.raw.ifus:
        lamp = instrument.light_on_detector(night.raw, ifu)[1]
        response = detector.pixel_response(night.raw, ifu)
        planes = {
            "MASTER_BIAS": detector.master_bias(night.raw, ifu, False),
            "MASTER_DARK": detector.master_dark(night.raw, ifu),
            "MASTER_FLAT": detector.master_flat(night.raw, ifu, lamp, response),
        }
        tables = {"TRACE_TABLE": trace_table(night.raw, ifu), "WAVECAL_TABLE": wave_table(night.raw, ifu)}
        for tag in MASTERS:
            used = _last_template([f for f in frames if f.tag == _RAW_OF[tag]])
            if not used:
                continue
            header = _product_header(night, used, tag, ifu)
            if tag in planes:
                units = ("adu", "", "(adu)**2") if tag == "MASTER_BIAS" else ("count", "", "(count)**2")
                hdus = [
                    fits.ImageHDU(data, name=name)
                    for name, data in zip(("DATA", "DQ", "STAT"), planes[tag], strict=True)
                ]
                for hdu, unit in zip(hdus, units, strict=True):
                    if unit:
                        hdu.header["BUNIT"] = unit
            else:
                hdus = [fits.BinTableHDU(tables[tag].data)]
            name = f"{tag}-{ifu:02d}.fits"
            start = date_of(used[0].start)[:19]
            target = folder / tag / f"{start}.{used[0].mode}" / name
            _identified(fits.HDUList([fits.PrimaryHDU(header=header), *hdus]), target)


def _last_template(frames: list[NightFrame]) -> list[NightFrame]:
    """Frames of the last template that was completed."""
    starts = sorted({frame.start for frame in frames})
    return [frame for frame in frames if frame.start == starts[-1]] if starts else []


def _product_header(night: NightSetup, used: list[NightFrame], tag: str, ifu: int) -> fits.Header:
    """Primary header of a product of one IFU: that of the first raw frame without DPR, and the history."""
    header = frame_header(night, used[0])
    for key in ("ESO DPR CATG", "ESO DPR TYPE", "ESO DPR TECH"):
        del header[key]
    header.extend(channel_header(night.raw, ifu))
    header.update(master_header(night.raw, ifu, _KIND[tag], "vpoly"))
    header["PIPEFILE"] = f"{tag}-{ifu:02d}.fits"
    header["HIERARCH ESO PRO CATG"] = tag
    header["HIERARCH ESO PRO DATANCOM"] = len(used)
    for n, frame in enumerate(used, 1):
        header[f"HIERARCH ESO PRO REC1 RAW{n} NAME"] = frame.archive_name
        header[f"HIERARCH ESO PRO REC1 RAW{n} CATG"] = frame.tag
    return header


def write_static(folder: Path, night: NightSetup) -> list[Path]:
    """Write general calibrations: validity from MJD-OBS on, DATE-OBS months later, as in the archive."""
    files = write_common(folder, night)
    solution = astrometric_solution(night.mode.startswith("NFM"), True)
    made = {
        "ASTROMETRY_WCS": cal.write_astrometry(folder / "astrometry_wcs.fits", night.mode, *solution),
        "LSF_PROFILE": cal.write_lsf_table(folder / "lsf_profile.fits", lsf_parameters(), range(1, 25)),
        "STD_RESPONSE": cal.write_response(folder / "std_response.fits"),
        "STD_TELLURIC": cal.write_telluric(folder / "std_telluric.fits"),
    }
    dates = {"ASTROMETRY_WCS": 57865.0, "LSF_PROFILE": 57889.0}
    codes = {"ASTROMETRY_WCS": "GASW_170422A", "LSF_PROFILE": "GLSP_170516A"}
    for tag, path in made.items():
        with fits.open(path, mode="update") as hdus:
            header = hdus[0].header
            header["HIERARCH ESO INS MODE"] = night.mode
            header["MJD-OBS"], header["DATE-OBS"] = (
                (when := dates.get(tag, night.evening)),
                date_of(when + 90.0),
            )
            if tag in codes:
                header["ORIGFILE"] = f"MU_{codes[tag]}.fits"
        files.append(path)
    return files


def write_common(folder: Path, night: NightSetup) -> list[Path]:
    """Write geometry, bad pixels and the catalogue of lamp lines: what every night needs."""
    folder.mkdir(parents=True, exist_ok=True)
    setup = night.raw
    columns = instrument.geometry_columns(setup)
    geometry = fits.BinTableHDU.from_columns(
        [fits.Column(k, "J" if k.startswith("S") else "D", array=v) for k, v in columns.items()]
    )
    badpix = [badpix_table(setup, ifu) for ifu in setup.ifus]
    return [
        _general(folder, night, "GEOMETRY_TABLE", "GEOT_170422A", 57865.0, [geometry]),
        _general(folder, night, "BADPIX_TABLE", "GBPT_150511A", 57153.0, badpix),
        _write_line_catalog(folder / "line_catalog.fits", night),
    ]


def _write_line_catalog(path: Path, night: NightSetup) -> Path:
    """LINE_CATALOG of the lines that the simulated lamps have (version 3, sorted by wavelength)."""
    if night.scenes or night.raw.ny >= light.LEAST_HEIGHT:
        return write_line_catalog(path)
    lines = sorted((wave, 3e4 * flux, lamp) for lamp, found in light.LINES.items() for wave, flux in found)
    wave, flux, lamp = zip(*lines, strict=True)
    hdu = fits.BinTableHDU.from_columns(
        [
            fits.Column("lambda", "E", unit="Angstrom", array=np.array(wave)),
            fits.Column("flux", "E", array=np.array(flux)),
            fits.Column("ion", "8A", array=np.array([f"{name[:2]}I" for name in lamp])),
            fits.Column("quality", "J", array=np.full(len(wave), 3)),
            fits.Column("comment", "8A", array=np.array(lamp)),
        ]
    )
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"], primary.header["SIMULATE"], primary.header["MJD-OBS"] = "MUSE", True, 56658.0
    primary.header["HIERARCH ESO PRO CATG"] = "LINE_CATALOG"
    primary.header["VERSION"] = hdu.header["VERSION"] = 3
    fits.HDUList([primary, hdu]).writeto(path, overwrite=True)
    return path


def _general(folder: Path, night: NightSetup, tag: str, code: str, valid: float, hdus: list) -> Path:
    header = primary_header(night.raw.with_(mode=DAY_MODE), 0, 1.0, tag)
    header["MJD-OBS"], header["DATE-OBS"] = valid, date_of(valid + 2.57)[:19] + ".000"
    header["ORIGFILE"] = f"MU_{code}.fits"
    del header["ARCFILE"]
    path = folder / f"M.MUSE.{date_of(valid + 100.0)}.fits"
    fits.HDUList([fits.PrimaryHDU(header=header), *hdus]).writeto(path, overwrite=True)
    return path


def _pack(path: Path) -> None:
    """Pack the images of a raw frame in tiles, as the archive sends it; only the packed file stays."""
    with fits.open(path) as hdus:
        units = [fits.CompImageHDU(hdu.data, hdu.header, name=hdu.name) for hdu in hdus[1:]]
        packed = path.with_name(path.name + ".fz")
        fits.HDUList([fits.PrimaryHDU(header=hdus[0].header), *units]).writeto(packed, overwrite=True)
    path.unlink()


def _set_traps(root: Path, paths: list[Path], frames: list[NightFrame]) -> None:
    """Rename, double and add files as real folders have them."""
    by_tag = {frame.tag: path for path, frame in zip(paths, frames, strict=True)}
    renamed = by_tag["SKY"]
    renamed.rename(renamed.with_name(renamed.name.replace(":", "_")))
    science = by_tag["OBJECT"]
    first = next(path for path, frame in zip(paths, frames, strict=True) if frame.tag == "OBJECT")
    if first != science:
        _pack(first)
    (root / "raw" / "again").mkdir(exist_ok=True)
    (root / "raw" / "again" / science.name).write_bytes(science.read_bytes())
    (root / "raw" / "MUSE.NL.txt").write_text("night log\n", encoding="utf-8")
    (root / "raw" / "broken.fits").write_bytes(b"")
    wrong = root / "master" / "MASTER_FLAT" / "other mode"
    for path in sorted((root / "master" / "MASTER_FLAT").glob("*/MASTER_FLAT-*.fits")):
        wrong.mkdir(parents=True, exist_ok=True)
        with fits.open(path) as hdus:
            header = hdus[0].header
            header["ESO INS MODE"] = "WFM-NOAO-N" if "-AO-" in header["ESO INS MODE"] else "WFM-AO-N"
            header["MJD-OBS"] -= 0.3
            header["DATAMD5"] = header["DATAMD5"][::-1]
            hdus.writeto(wrong / path.name, overwrite=True)
