# SPDX-License-Identifier: BSD-3-Clause
"""Files with headers like those of the archive, a few hundred bytes each, and the real night of section 3."""

from __future__ import annotations

import hashlib
from pathlib import Path

from muse_core.calib.classify import date_of, mjd_of

BLOCK = 2880


def card(key: str, value: object) -> bytes:
    if isinstance(value, bool):
        text = "T" if value else "F"
    elif isinstance(value, str):
        text = "'" + value.replace("'", "''") + "'"
    else:
        text = repr(value)
    if not isinstance(value, str) and not key.startswith("ESO "):
        text = f"{text:>20}"
    name = f"HIERARCH {key} = " if key.startswith("ESO ") else f"{key:<8}= "
    return (name + text).encode("latin-1")[:80].ljust(80)


def header(cards: dict[str, object], first: str = "SIMPLE") -> bytes:
    start = [card("SIMPLE", True)] if first == "SIMPLE" else [card("XTENSION", "IMAGE   ")]
    structure = {"BITPIX": 8, "NAXIS": 0}
    if first != "SIMPLE":
        structure |= {"PCOUNT": 0, "GCOUNT": 1}
    text = b"".join([*start, *(card(k, v) for k, v in (structure | cards).items()), b"END".ljust(80)])
    return text.ljust(-(-len(text) // BLOCK) * BLOCK)


def write(path: Path, cards: dict[str, object], extensions: list[dict[str, object]] = ()) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header(cards) + b"".join(header(e, "XTENSION") for e in extensions))
    return path


DPR = {
    "BIAS": ("CALIB", "BIAS"), "DARK": ("CALIB", "DARK"), "FLAT": ("CALIB", "FLAT,LAMP"),
    "ILLUM": ("CALIB", "FLAT,LAMP,ILLUM"), "ARC": ("CALIB", "WAVE"), "SKYFLAT": ("CALIB", "FLAT,SKY"),
    "STD": ("CALIB", "STD"), "OBJECT": ("SCIENCE", "OBJECT"), "SKY": ("SCIENCE", "SKY"),
}  # fmt: skip


def raw(folder: Path, tag: str, date: str, mode: str = "WFM-AO-N", name: str = "", **more: object) -> Path:
    """Write a raw frame taken at a date (milliseconds in the name and in MJD-OBS only, as in the archive)."""
    catg, dpr = DPR[tag]
    mjd = mjd_of(date)
    cards = {
        "INSTRUME": "MUSE", "OBJECT": more.pop("object_name", tag), "MJD-OBS": mjd, "EXPTIME": 10.0,
        "DATE-OBS": date_of(mjd) + ".000", "ARCFILE": f"MUSE.{date}.fits", "ESO DPR CATG": catg,
        "ESO DPR TYPE": dpr, "ESO DPR TECH": "IFU", "ESO INS MODE": mode, "ESO DET READ CURNAME": "SCI1.0",
        "ESO DET READ CURID": 1, "ESO DET BINX": 1, "ESO DET BINY": 1, "ESO DET CHIPS": 24,
        "ESO TPL START": date_of(mjd), "ESO INS OPTI2 NAME": mode[:3], "ESO INS TEMP7 VAL": 12.0,
    }  # fmt: skip
    cards |= {key.replace("__", " "): value for key, value in more.items()}
    return write(folder / (name or f"MUSE.{date}.fits"), cards)


def master(
    folder: Path,
    tag: str,
    date: str,
    mode: str | None = "WFM-AO-N",
    ifus=range(1, 25),
    pipe: str = "muse/2.8.7",
    **more,
) -> list[Path]:
    """Write a master as a file per IFU (``ifus=None``: one merged file)."""
    mjd = mjd_of(date)
    cards = {
        "INSTRUME": "MUSE", "MJD-OBS": mjd, "DATE-OBS": date_of(mjd) + ".000", "ESO PRO CATG": tag,
        "ESO PRO REC1 ID": "muse_x", "ESO PRO REC1 PIPE ID": pipe, "ESO DET READ CURNAME": "SCI1.0",
        "ESO DET BINX": 1, "ESO DET BINY": 1, "ESO TPL START": date_of(mjd),
    }  # fmt: skip
    if mode is not None:
        cards |= {"ESO INS MODE": mode, "ESO INS OPTI2 NAME": mode[:3]}
    cards |= {key.replace("__", " "): value for key, value in more.items()}
    if ifus is None:
        return [write(folder / f"{tag}.fits", cards)]
    return [
        write(
            folder / f"{tag}-{n:02d}.fits",
            cards
            | {
                "EXTNAME": f"CHAN{n:02d}",
                "DATAMD5": hashlib.md5(f"{tag}{date}{n}{pipe}".encode()).hexdigest(),
            },
        )
        for n in ifus
    ]


OBJECTS = ("01:34:56.867", "01:37:10.123", "01:40:44.500", "02:05:00.250", "02:07:10.750", "02:10:02.125")


def real_night(root: Path) -> list[Path]:
    """Write the case of IC4406, June 2017, headers rebuilt from a table of the real ones; returns OBJECTs."""
    for n in range(11):
        raw(root / "r", "BIAS", f"2017-06-16T10:{40 + n}:27.111", ESO__TPL__START="2017-06-16T10:40:27")
        raw(root / "r", "FLAT", f"2017-06-16T12:{15 + n}:46.222", ESO__TPL__START="2017-06-16T12:15:46")
    for n in range(15):
        lamp = {
            "ESO INS SHUT3 ST": n % 3 == 0,
            "ESO INS SHUT4 ST": n % 3 == 1,
            "ESO INS SHUT5 ST": n % 3 == 2,
        }
        date = f"2017-06-16T12:{32 + n}:03.333"
        raw(root / "r", "ARC", date, ESO__TPL__START="2017-06-16T12:32:03", **lamp)
    for n in range(4):
        date = f"2017-06-18T22:{7 + n:02d}:10.444"
        raw(root / "r", "SKYFLAT", date, ESO__TPL__START="2017-06-18T22:07:10")
    for tag, date in (
        ("MASTER_BIAS", "2017-06-16T10:40:27.111"), ("MASTER_FLAT", "2017-06-16T12:15:46.222"),
        ("TRACE_TABLE", "2017-06-16T12:15:46.222"), ("WAVECAL_TABLE", "2017-06-16T12:32:03.333"),
    ):  # fmt: skip
        master(root / "m", tag, date)
    for tag, date in (("MASTER_FLAT", "2017-06-14T12:15:00.000"), ("MASTER_FLAT", "2017-06-18T12:00:00.000")):
        master(root / "m" / date[:10], tag, date)
        master(root / "m" / date[:10], "TRACE_TABLE", date)
    master(root / "m" / "noao", "MASTER_FLAT", "2017-06-16T12:10:00.000", "WFM-NOAO-N")
    master(root / "m", "TWILIGHT_CUBE", "2017-06-18T22:07:10.444", ifus=None)
    for tag in ("STD_RESPONSE", "STD_TELLURIC"):
        master(root / "m", tag, "2017-06-19T09:32:00.000", ifus=None)
        master(root / "m" / "e", tag, "2017-06-16T04:00:00.000", "WFM-AO-E", ifus=None)
    for date, temp in (("01:25:02.100", 12.0), ("01:57:38.200", 12.05), ("05:10:00.000", 12.0)):
        raw(
            root / "r",
            "ILLUM",
            f"2017-06-16T{date}",
            "WFM-NOAO-N",
            EXPTIME=1.155,
            **{"ESO INS TEMP7 VAL": temp},
        )
    long_term = {"ESO INS OPTI2 NAME": "WFM"}
    for code, tag, mjd, taken in (
        ("GEOT_170422A", "GEOMETRY_TABLE", 57865.0, "2017-04-24T13:44:00"),
        ("GEOT_150909A", "GEOMETRY_TABLE", 57274.0, "2015-09-10T10:00:00"),
        ("GASW_170422A", "ASTROMETRY_WCS", 57865.0, "2017-04-24T13:44:00"),
        ("GLSP_170516A", "LSF_PROFILE", 57889.0, "2017-10-26T00:00:00"),
        ("GVIM_140906A", "VIGNETTING_MASK", 56906.0, "2014-09-06T00:00:00"),
    ):
        cards = {
            "INSTRUME": "MUSE",
            "ESO PRO CATG": tag,
            "MJD-OBS": mjd,
            "DATE-OBS": taken,
            "ORIGFILE": f"MU_{code}.fits",
        }
        cards |= long_term | {"ESO INS MODE": "WFM-AO-N" if tag == "LSF_PROFILE" else "WFM-NOAO-N"}
        write(root / "s" / f"M.MUSE.{taken}_{code}.fits", cards)
    return [
        raw(root / "r", "OBJECT", f"2017-06-16T{t}", object_name="IC4406", ESO__OBS__ID=1000 + n)
        for n, t in enumerate(OBJECTS)
    ]
