# SPDX-License-Identifier: BSD-3-Clause
"""Primary headers of simulated pixel tables: what the instrument, the telescope and muse_scibasic write."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from astropy.io import fits

from muse_core.simulate.physics import Pointing, Weather

_MJD_EPOCH = datetime(1858, 11, 17)


def date_of(mjd: float) -> str:
    """ISO date with milliseconds of an MJD."""
    moment = _MJD_EPOCH + timedelta(milliseconds=round(mjd * 86400e3))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}"


@dataclass(frozen=True)
class ExposureInfo:
    """Everything the header of one exposure tells."""

    number: int
    mode: str
    pointing: Pointing
    mjd: float
    posang: float
    drot_mode: str
    weather: Weather
    seeing: float
    object_name: str = "SYNTH"
    template_start: float | None = None
    exposures: int = 1

    @property
    def date(self) -> str:
        """DATE-OBS."""
        return date_of(self.mjd)

    @property
    def is_ao(self) -> bool:
        """Whether lasers (and the notch filter) are in use."""
        return "-AO-" in self.mode


def primary_header(
    info: ExposureInfo, ifu: int, name: str, flat_flux: tuple[float, float] | None
) -> fits.Header:
    """Primary header of the pixel table of one IFU, without the PIXTABLE group."""
    p, t = info.pointing, info.pointing.exptime
    raw = f"MUSE.{info.date}.fits"
    h = fits.Header()
    for key, value in (
        ("EXTNAME", f"CHAN{ifu:02d}"),
        ("ORIGIN", "ESO"),
        ("TELESCOP", "ESO-VLT-U4"),
        ("INSTRUME", "MUSE"),
        ("SIMULATE", True),
        ("OBJECT", info.object_name),
        ("RA", p.ra),
        ("DEC", p.dec),
        ("EQUINOX", 2000.0),
        ("RADECSYS", "FK5"),
        ("EXPTIME", float(t)),
        ("MJD-OBS", info.mjd),
        ("DATE-OBS", info.date),
        ("UTC", round(info.mjd % 1 * 86400, 3)),
        ("LST", p.lst),
        ("PI-COI", "nobody"),
        ("OBSERVER", "nobody"),
    ):
        h[key] = value
    eso: list[tuple[str, str | bool | float]] = [
        ("DPR CATG", "SCIENCE"), ("DPR TYPE", "OBJECT"), ("DPR TECH", "IFU"),
        ("INS MODE", info.mode), ("INS DROT MODE", info.drot_mode), ("INS DROT POSANG", float(info.posang)),
        ("ADA POSANG", float(info.posang)), ("INS DROT START", 10.0), ("INS DROT END", 10.4),
        ("OBS ID", 12345), ("OBS TARG NAME", info.object_name.lower()), ("OBS PROG ID", "60.A-9100(A)"),
        ("OBS NAME", info.object_name.lower()),
        ("TPL START", date_of(info.mjd if info.template_start is None else info.template_start)[:19]),
        ("TPL NEXP", max(info.exposures, info.number)), ("TPL EXPNO", info.number),
        ("TEL GEOLAT", p.latitude), ("TEL GEOLON", -70.404), ("TEL GEOELEV", 2648.0),
        ("TEL PARANG START", p.parallactic_angle_at(0)), ("TEL PARANG END", p.parallactic_angle_at(t)),
        ("TEL AIRM START", p.airmass_at(0)), ("TEL AIRM END", p.airmass_at(t)),
        ("TEL AMBI TEMP", info.weather.temperature), ("TEL AMBI RHUM", info.weather.humidity),
        ("TEL AMBI PRES START", info.weather.pressure), ("TEL AMBI PRES END", info.weather.pressure),
        ("TEL AMBI FWHM START", round(info.seeing * 1.1, 3)),
        ("TEL AMBI FWHM END", round(info.seeing * 1.15, 3)),
        ("TEL IA FWHM", info.seeing), ("TEL IA FWHMLIN", round(info.seeing * 1.05, 3)),
        ("OCS SGS AG FWHMX AVG", info.seeing), ("OCS SGS AG FWHMX RMS", 0.05),
        ("OCS SGS AG FWHMY AVG", info.seeing), ("OCS SGS AG FWHMY RMS", 0.05),
        ("TEL ALT", 55.0), ("TEL AZ", 100.0),
        ("PRO CATG", "PIXTABLE_OBJECT"), ("PRO TECH", "IFU"), ("PRO TYPE", "REDUCED"), ("PRO SCIENCE", True),
        ("PRO REC1 ID", "muse_scibasic"), ("PRO REC1 DRS ID", "cpl-7.2"), ("PRO REC1 PIPE ID", "muse/2.8.7"),
        ("PRO REC1 RAW1 NAME", raw), ("PRO REC1 RAW1 CATG", "OBJECT"), ("PRO DATANCOM", 1),
    ]  # fmt: skip
    for key, value in eso:
        h[f"HIERARCH ESO {key}"] = value
    h["PIPEFILE"] = name
    h["ARCFILE"] = raw
    for key, value in (
        ("DET READ CURID", 1),
        ("DET READ CURNAME", "SCI1.0"),
        ("DET BINX", 1),
        ("DET BINY", 1),
        ("DET CHIP NAME", f"ESO-SDI-{ifu:02d}"),
        ("DET CHIP ID", f"c{ifu:02d}"),
        ("DET OUT1 GAIN", 1.1),
        ("DET OUT1 RON", 2.8),
    ):
        h[f"HIERARCH ESO {key}"] = value
    if flat_flux is not None:
        h["HIERARCH ESO DRS MUSE FLAT FLUX SKY"] = flat_flux[0]
        h["HIERARCH ESO DRS MUSE FLAT FLUX LAMP"] = flat_flux[1]
    if info.mode.startswith("NFM"):
        h["HIERARCH ESO DRS MUSE RTC STREHL"] = 20.0 + info.number
        h["HIERARCH ESO DRS MUSE RTC STREHERR"] = 2.0
    return h


def add_pixtable_group(
    header: fits.Header, ifu: int, slices: Iterable[int], xoffsets: Any, limits: dict[str, tuple]
) -> None:
    """Append (or update) the ESO DRS MUSE PIXTABLE keywords."""
    prefix = "HIERARCH ESO DRS MUSE PIXTABLE"
    header[f"{prefix} TYPE"] = "GEOFULL"
    for axis in ("X", "Y", "LAMBDA"):
        low, high = limits[axis]
        header[f"{prefix} LIMITS {axis} LOW"] = float(low)
        header[f"{prefix} LIMITS {axis} HIGH"] = float(high)
    for axis, pair in (("IFU", (ifu, ifu)), ("SLICE", (min(slices), max(slices)))):
        header[f"{prefix} LIMITS {axis} LOW"] = pair[0]
        header[f"{prefix} LIMITS {axis} HIGH"] = pair[1]
    for slice_, offset in zip(slices, xoffsets, strict=True):
        header[f"{prefix} EXP0 IFU{ifu:02d} SLICE{slice_:02d} XOFFSET"] = offset
