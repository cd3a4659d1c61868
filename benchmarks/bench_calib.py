# SPDX-License-Identifier: BSD-3-Clause
"""The calibration database on large trees: first index, nothing changed, some changed, find, sof.

    python benchmarks/bench_calib.py FOLDER [--files 100000] [--rows 1000000]

Writes synthetic MUSE files with real-sized headers (1700 cards, 138 kB; the data are a hole), 14 GB for 1e5
of them, indexes them, and prints CPU time, wall time, peak memory and the size of the index. ``--rows`` adds
rows to a copy of the index (no files) and measures one `find` in it. What it writes is removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from muse_core.calib.classify import date_of

CARDS = 1700
DATA_BLOCKS = 40
START = 57900.0
KINDS = (
    ("BIAS", "CALIB", "BIAS", 11, "WFM-NOAO-N"),
    ("FLAT", "CALIB", "FLAT,LAMP", 11, "WFM-AO-N"),
    ("ARC", "CALIB", "WAVE", 15, "WFM-AO-N"),
    ("SKYFLAT", "CALIB", "FLAT,SKY", 4, "WFM-AO-N"),
    ("STD", "CALIB", "STD", 1, "WFM-AO-N"),
    ("ILLUM", "CALIB", "FLAT,LAMP,ILLUM", 4, "WFM-NOAO-N"),
    ("OBJECT", "SCIENCE", "OBJECT", 14, "WFM-AO-N"),
)
OFFSET = {"BIAS": 0.95, "FLAT": 1.0, "ARC": 1.02, "SKYFLAT": 0.45, "STD": 0.5, "ILLUM": 0.6, "OBJECT": 0.55}
MASTERS = ("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE")


def card(key: str, value: object) -> bytes:
    text = f"'{value}'" if isinstance(value, str) else str(value)
    name = f"HIERARCH ESO {key[4:]} = " if key.startswith("ESO ") else f"{key:<8}= "
    return f"{name}{text}".encode()[:80].ljust(80)


def filler() -> bytes:
    groups = ("INS", "TEL", "DET", "OCS", "AOS", "GEN")
    return b"".join(card(f"ESO {groups[n % 6]} SENS{n} VAL", 0.5 * n) for n in range(CARDS - 30))


def header(night: int, kind: str, n: int, rest: bytes) -> tuple[str, bytes]:
    """Header of one file of a night; masters come with 24 files each."""
    mjd = START + night
    cards: dict[str, object] = {"INSTRUME": "MUSE"}
    if kind in MASTERS:
        mjd += OFFSET["FLAT"]
        cards |= {"ESO PRO CATG": kind, "EXTNAME": f"CHAN{n + 1:02d}", "ESO PRO REC1 PIPE ID": "muse/2.8.7"}
        cards |= {"DATAMD5": f"{night:08x}{MASTERS.index(kind):08x}{n:016x}", "ESO INS MODE": "WFM-AO-N"}
        name = f"master/{date_of(mjd)[:10]}/{kind}-{n + 1:02d}.fits"
        start = date_of(mjd)
    else:
        _, catg, dpr, _, mode = next(entry for entry in KINDS if entry[0] == kind)
        mjd += OFFSET[kind]
        start = date_of(mjd if kind not in ("OBJECT", "ILLUM") else mjd + 0.02 * n)
        mjd += 0.02 * n if kind in ("OBJECT", "ILLUM") else 0.001 * n
        cards |= {"ESO DPR CATG": catg, "ESO DPR TYPE": dpr, "ESO DPR TECH": "IFU", "ESO INS MODE": mode}
        stamp = f"{date_of(mjd)}.{n:03d}"
        cards["ARCFILE"] = f"MUSE.{stamp}.fits"
        name = f"raw/{date_of(START + night)[:10]}/MUSE.{stamp}.fits"
    cards |= {
        "MJD-OBS": round(mjd, 8), "DATE-OBS": date_of(mjd), "EXPTIME": 10.0, "RA": 200 + 0.01 * n,
        "DEC": -44 + 0.0013 * n, "UTC": round(mjd % 1 * 86400, 3), "LST": round(mjd % 0.99727 * 86400, 3),
        "ESO TPL START": start,
        "ESO DET READ CURNAME": "SCI1.0", "ESO DET BINX": 1, "ESO DET BINY": 1, "ESO DET CHIPS": 24,
        "ESO INS TEMP7 VAL": 12.0 + 0.01 * n, "ESO OBS ID": 1000 + night,
    }  # fmt: skip
    first = b"SIMPLE  =                    T".ljust(80) + b"BITPIX  =                    8".ljust(80)
    first += b"NAXIS   =                    0".ljust(80)
    ordered = sorted(
        cards.items(), key=lambda entry: entry[0].startswith("ESO ")
    )  # as the instrument writes them
    text = first + b"".join(card(k, v) for k, v in ordered) + rest + b"END".ljust(80)
    return name, text.ljust(-(-len(text) // 2880) * 2880)


def extension(n: int) -> bytes:
    cards = {"BITPIX": 8, "NAXIS": 1, "NAXIS1": DATA_BLOCKS * 2880, "PCOUNT": 0, "GCOUNT": 1}
    text = b"XTENSION= 'IMAGE   '".ljust(80) + b"".join(card(k, v) for k, v in cards.items())
    return (text + card("EXTNAME", f"CHAN{n:02d}") + b"END".ljust(80)).ljust(2880)


def all_files(count: int):
    done, night = 0, 0
    while True:
        for kind, number in [*((k[0], k[3]) for k in KINDS), *((m, 24) for m in MASTERS)]:
            for n in range(number):
                if done == count:
                    return
                yield night, kind, n
                done += 1
        night += 1


def write_tree(root: Path, count: int) -> None:
    rest = filler()
    folders: set[str] = set()
    for night, kind, n in all_files(count):
        name, text = header(night, kind, n, rest)
        folder = name.rpartition("/")[0]
        if folder not in folders:
            (root / folder).mkdir(parents=True, exist_ok=True)
            folders.add(folder)
        with (root / name).open("wb") as stream:
            stream.write(text)
            for n in range(1, 25 if name.startswith("raw/") else 1):  # the data are holes
                stream.write(extension(n))
                stream.seek(DATA_BLOCKS * 2880, os.SEEK_CUR)
            stream.truncate(stream.tell())


def measured(label: str, command: list[str]) -> str:
    """Run a command; print wall time, CPU time and peak memory; return what it said."""
    started = time.perf_counter()
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    output = job.stdout.read() if job.stdout else ""
    _, status, usage = os.wait4(job.pid, 0)
    wall = time.perf_counter() - started
    cpu = usage.ru_utime + usage.ru_stime
    print(
        f"{label:<34} wall {wall:7.2f} s  CPU {cpu:7.2f} s  peak {usage.ru_maxrss / 1024:6.0f} MB"
        f"  exit {os.waitstatus_to_exitcode(status)}",
        flush=True,
    )
    return output


def grow(index: Path, rows: int) -> None:
    """Copy the rows of an index, shifted in time, until there are so many (no files belong to them)."""
    with contextlib.closing(sqlite3.connect(index)) as db:
        names = [entry[1] for entry in db.execute("PRAGMA table_info(file)")]
        sets = [entry[1] for entry in db.execute("PRAGMA table_info(sets)")]
        have = db.execute("SELECT COUNT(*) FROM file").fetchone()[0]
        top = db.execute("SELECT MAX(id) FROM file").fetchone()[0]
        for turn in range(1, -(-rows // have)):
            shift, prefix = -700.0 * turn, f"copy{turn}/"
            change = {
                "id": f"id + {turn * (top + 1)}", "path": f"'{prefix}' || path",
                "folder": f"'{prefix}' || folder", "ident": f"ident || '-{turn}'", "mjd": f"mjd + {shift}",
                "mjd_mid": f"mjd_mid + {shift}",
                "set_id": f"set_id + {turn}",
            }  # fmt: skip
            columns = ", ".join(change.get(name, name) for name in names)
            db.execute(f"INSERT INTO file SELECT {columns} FROM file WHERE id <= {top}")
            change = {"id": f"id + {turn}", "mjd": f"mjd + {shift}", "folder": f"'{prefix}' || folder"}
            columns = ", ".join(change.get(name, name) for name in sets)
            db.execute(f"INSERT OR IGNORE INTO sets SELECT {columns} FROM sets WHERE first NOT LIKE 'copy%'")
        db.commit()
        print(f"index with {db.execute('SELECT COUNT(*) FROM file').fetchone()[0]} rows", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="where there is room; a new folder is made in it")
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench_calib_", dir=args.folder) as folder:
        measure(Path(folder), args.files, args.rows)


def measure(folder: Path, files: int, rows: int) -> None:
    """Measure everything in an empty folder."""
    root = folder / "tree"
    started = time.perf_counter()
    write_tree(root, files)
    print(f"wrote {files} files in {time.perf_counter() - started:.0f} s", flush=True)
    print(f"load of the computer: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores", flush=True)
    index = root / ".muse-index.sqlite"
    tool = [sys.executable, "-c", "import sys; from muse_core.tools import main; sys.exit(main())"]
    scan = [*tool, "calib", "index", str(root)]
    print(measured(f"first index of {files}", scan))
    print(f"index file {index.stat().st_size / 1e6:.0f} MB")
    measured("nothing changed", scan)
    for path in sorted(root.rglob("MUSE.*.fits"))[200:300]:
        os.utime(path, (1.6e9, 1.6e9))
    print(measured("100 changed", scan))
    target = str(root / header(3, "OBJECT", 2, b"")[0])
    where = ["--for", target, "--calib", str(root)]
    print(measured("find", [*tool, "calib", "find", "MASTER_FLAT", *where])[:300])
    out = str(folder / "x.sof")
    print(measured("sof muse_scibasic", [*tool, "sof", "muse_scibasic", *where, "-o", out])[:1500])
    measured("python itself, no work", [*tool, "calib", "--help"])
    big = folder / "big"
    big.mkdir(exist_ok=True)
    shutil.copy(index, big / index.name)
    grow(big / index.name, rows)
    where[-1] = str(big)
    print(measured(f"find in {rows} rows", [*tool, "calib", "find", "MASTER_FLAT", *where])[:300])


if __name__ == "__main__":
    main()
