# SPDX-License-Identifier: BSD-3-Clause
"""What is exposed in a simulated night, when, and what the headers say.

The traps of real archives are built in: ILLUM and BIAS are taken in another mode than the science, day
calibrations come after the night, one template is broken off and repeated, DATE-OBS is cut to whole seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from astropy.io import fits

from muse_core.simulate.headers import date_of
from muse_core.simulate.physics import Pointing
from muse_core.simulate.raw import primary_header
from muse_core.simulate.raw_instrument import RawSetup
from muse_core.simulate.scene import Scene

EVENING = 57919.0  # 2017-06-15: the night of the example
DAY_MODE = "WFM-NOAO-N"  # of bias, dark and ILLUM, whatever the science uses
PORTS_OF_LAMPS = {"Ne": "SHUT3", "Xe": "SHUT4", "HgCd": "SHUT5"}
PROGRAM = "60.A-9100(A)"
RA, DEC, COS_DEC = 215.609, -44.1508, 0.7175
TRANSIT = 2.0  # hours UTC at which the field culminates
AT_NIGHT = ("STD", "ASTROMETRY", "ILLUM", "OBJECT", "SKY", "ACQ")
PIXEL = 0.2 / 3600  # degrees; RA grows to the left


@dataclass(frozen=True)
class NightFrame:
    """One raw exposure: what the headers tell, and what falls on the detectors (see `night_light`).

    Parameters
    ----------
    tag : frame tag
    start : MJD of its template (the first exposure)
    mjd : MJD-OBS
    place, of : number within the template, and how many were planned
    pointing : shift of the field on the sky (x, y) [pixel]
    """

    tag: str
    mjd: float
    exptime: float
    mode: str
    start: float
    place: int = 1
    of: int = 1
    lamp: str = ""
    object_name: str = ""
    obs_id: int = 0
    temp: float = 12.0
    pointing: tuple[float, float] = (0.0, 0.0)
    seed: int = 0

    @property
    def archive_name(self) -> str:
        """Name in the archive; milliseconds as in MJD-OBS."""
        return f"MUSE.{date_of(self.mjd)}.fits"


@dataclass(frozen=True)
class NightSetup:
    """A simulated night.

    Parameters
    ----------
    mode : instrument mode of flats, arcs, twilight, standard and science
    counts : exposures per tag
    traps : also write what goes wrong in real archives
    scenes : what each tag shows, in physical units (see `night_scenes`); without, stars of some counts
    """

    raw: RawSetup = field(default_factory=lambda: RawSetup(ifus=(1, 2), nx=512, ny=64, cosmics=5))
    mode: str = "WFM-AO-N"
    evening: float = EVENING
    counts: tuple[tuple[str, int], ...] = (
        ("BIAS", 3), ("DARK", 3), ("FLAT", 3), ("ARC", 3), ("SKYFLAT", 3),
        ("STD", 1), ("OBJECT", 2), ("SKY", 1),
    )  # fmt: skip
    traps: bool = True
    scenes: Mapping[str, Scene] = field(default_factory=dict)

    def count(self, tag: str) -> int:
        """How many exposures of a tag."""
        return dict(self.counts).get(tag, 0)


_DPR = {
    "BIAS": ("CALIB", "BIAS", "bias"),
    "DARK": ("CALIB", "DARK", "dark"),
    "FLAT": ("CALIB", "FLAT,LAMP", "flat"),
    "ARC": ("CALIB", "WAVE", "wave"),
    "ILLUM": ("CALIB", "FLAT,LAMP,ILLUM", "illum"),
    "SKYFLAT": ("CALIB", "FLAT,SKY", "skyflat"),
    "STD": ("CALIB", "STD", "specphot"),
    "ASTROMETRY": ("CALIB", "ASTROMETRY", "astrometry"),
    "OBJECT": ("SCIENCE", "OBJECT", "genericoffset"),
    "SKY": ("SCIENCE", "SKY", "genericoffset"),
    "ACQ": ("ACQUISITION", "OBJECT", "acq"),
    "AMPL": ("CALIB", "AMPL", "ampl"),
}


def schedule(night: NightSetup) -> list[NightFrame]:
    """Return the exposures of a night in the order of time."""
    evening, mode = night.evening, night.mode
    frames: list[NightFrame] = []

    def template(tag: str, hours: float, exptime: float, use: str, step: float = 0.05, **facts: Any) -> None:
        """Add a template that begins some hours after the evening's noon (UT 16 h)."""
        start = evening + (16.0 + hours) / 24.0 + 0.000010035  # an odd fraction of a second
        number = facts.pop("number", night.count(tag))
        planned = facts.pop("of", number)
        for n in range(number):
            frame = NightFrame(tag, start + n * step / 24.0, exptime, use, start, n + 1, planned, **facts)
            frames.append(replace(frame, seed=len(frames)))

    template("SKYFLAT", 6.1, 1.0, mode, object_name="Twilight")
    template("STD", 7.0, 60.0, mode, object_name="GD 153", obs_id=101)
    template("ASTROMETRY", 7.4, 60.0, mode, object_name="Cluster", obs_id=102)
    template("ILLUM", 7.9, 0.35, DAY_MODE, number=1, object_name="FLAT,LAMP,ILLUM", obs_id=200)
    for n in range(night.count("OBJECT")):
        template("OBJECT", 8.0 + 0.4 * n, 600.0, mode, number=1, object_name="IC4406", obs_id=200,
                 pointing=(1.7 * n, -1.3 * n))  # fmt: skip  # no whole pixels: other samples of each star
    template("SKY", 9.0, 120.0, mode, object_name="Sky field", obs_id=200)
    template("BIAS", 18.5, 0.0, DAY_MODE, object_name="BIAS")
    if night.traps:
        template("FLAT", 19.5, 0.5, mode, number=1, of=night.count("FLAT"), object_name="FLAT,LAMP")
    template("FLAT", 20.0, 0.5, mode, object_name="FLAT,LAMP")
    for n, lamp in enumerate(PORTS_OF_LAMPS):
        each = night.count("ARC") // 3
        template("ARC", 20.6, 1.0, mode, number=each, lamp=lamp, object_name="WAVE", of=3 * each)
        start = len(frames) - each
        frames[start:] = [
            replace(f, mjd=f.mjd + 0.02 * n / 24, place=f.place + n * each) for f in frames[start:]
        ]
    template("DARK", 21.5, 1800.0, DAY_MODE, step=0.55, object_name="DARK")
    if night.traps:
        template("ACQ", 7.8, 1.0, mode, number=1, object_name="IC4406")
        template("AMPL", 17.5, 1.0, DAY_MODE, number=1, object_name="AMPL")
    return sorted(frames, key=lambda frame: frame.mjd)


def pointing_of(frame: NightFrame) -> Pointing:
    """Return where the telescope looks; the field culminates two hours after the first exposure of it."""
    ra = RA - PIXEL / COS_DEC * frame.pointing[0]
    hours = frame.mjd % 1 * 24.0 - TRANSIT
    return Pointing(
        ra, DEC + PIXEL * frame.pointing[1], round((ra * 240.0 + hours * 3609.856) % 86400, 3), frame.exptime
    )


def frame_header(night: NightSetup, frame: NightFrame) -> fits.Header:
    """Return the primary header of a raw frame."""
    catg, kind, template = _DPR[frame.tag]
    setup = night.raw.with_(mode=frame.mode)
    header = primary_header(setup, 0, frame.exptime, kind if "," in kind else "OBJECT")
    seconds = date_of(frame.mjd)[:19] + ".000"
    field_of_view = frame.mode.split("-")[0]
    where = pointing_of(frame)
    cards: dict[str, object] = {
        "OBJECT": frame.object_name or kind, "MJD-OBS": frame.mjd, "DATE-OBS": seconds,
        "RA": where.ra, "DEC": where.dec, "UTC": round(frame.mjd % 1 * 86400), "LST": where.lst,
        "ARCFILE": frame.archive_name, "ORIGFILE": f"MUSE_{template}_{frame.place:04d}.fits",
        "ESO DPR CATG": catg, "ESO DPR TYPE": kind, "ESO DPR TECH": "IFU",
        "ESO TPL ID": f"MUSE_{field_of_view.lower()}_{'obs' if catg == 'SCIENCE' else 'cal'}_{template}",
        "ESO TPL START": date_of(frame.start)[:19], "ESO TPL EXPNO": frame.place, "ESO TPL NEXP": frame.of,
        "ESO OBS ID": frame.obs_id or 1, "ESO OBS PROG ID": PROGRAM,
        "ESO OBS NAME": frame.object_name or kind,
        "ESO OBS TARG NAME": frame.object_name or kind, "ESO INS OPTI2 NAME": field_of_view,
        "ESO INS OPTI1 NAME": "Blue-Na2" if "-AO-" in frame.mode else "Blue",
        "ESO INS TEMP7 VAL": frame.temp, "ESO INS TEMP11 VAL": frame.temp + 0.1,
        "ESO DET CHIPS": len(night.raw.ifus),
        "ESO TEL GEOLAT": -24.6270, "ESO TEL GEOLON": -70.4040, "ESO TEL GEOELEV": 2648.0,
    }  # fmt: skip
    if frame.tag in AT_NIGHT:
        cards["ESO INS DROT MODE"] = "SKY"
        for key, seconds_after in (("START", 0.0), ("END", frame.exptime)):
            cards[f"ESO TEL AIRM {key}"] = where.airmass_at(seconds_after)
            cards[f"ESO TEL PARANG {key}"] = where.parallactic_angle_at(seconds_after)
    for lamp, port in PORTS_OF_LAMPS.items():
        cards[f"ESO INS {port} ST"] = lamp == frame.lamp
        if frame.tag == "ARC":
            number = port.removeprefix("SHUT")
            cards["ESO INS LAMPNUM"] = 6
            cards[f"ESO INS LAMP{number} NAME"] = f"CU-LAMP{number}"
            cards[f"ESO INS LAMP{number} ST"] = lamp == frame.lamp
    for key, value in cards.items():
        header[("HIERARCH " if key.startswith("ESO") and key not in header else "") + key] = value
    return header
