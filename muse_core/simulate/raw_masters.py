# SPDX-License-Identifier: BSD-3-Clause
"""Raw frames for muse_bias, muse_dark and muse_flat, with the truth behind them, channel by channel.

Only one channel is in memory at a time; the smallest detector that the C recipe can trace slices on has
``nx=2048`` (any ``ny``), the real one ``ny=2056``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.simulate import raw_detector as detector
from muse_core.simulate import raw_instrument as instrument
from muse_core.simulate.raw import (
    append_image,
    badpix_table,
    channel_header,
    master_header,
    primary_header,
    trace_table,
)
from muse_core.simulate.raw_instrument import NSLICE, RawSetup

Image = npt.NDArray[np.float32]
BIAS, DARK, FLAT = 5, 6, 7  # purposes of random numbers
LAMP_LEVEL, LAMP_TIME = 20000.0, 0.35
HOT_RATE = (30.0, 3000.0)  # count per hour
COLUMN_STEPS = (-60.0, -12.0, -3.0, 2.0, 5.0, 15.0, 200.0)  # adu
TYPES = {"BIAS": "BIAS", "DARK": "DARK", "FLAT": "FLAT,LAMP"}
TEMPLATES = {"BIAS": "MUSE_gen_cal_bias", "DARK": "MUSE_gen_cal_dark", "FLAT": "MUSE_wfm_cal_flat"}


@dataclass(frozen=True)
class Defective:
    """What is wrong with the detector of an IFU; rows and columns of the trimmed image, from 0.

    Attributes
    ----------
    columns : int64[n, 3]
        Bad columns: column, first row, last row (exclusive).
    steps : float64[n]
        Their level, adu; half of them flicker by as much.
    hot : int64[n, 2]
        Hot pixels: row, column.
    rates : float64[n]
        Their dark current, count per hour.
    poor : int64[n, 2]
        Pixels of poor response: row, column.
    """

    columns: npt.NDArray[np.int64]
    steps: npt.NDArray[np.float64]
    hot: npt.NDArray[np.int64]
    rates: npt.NDArray[np.float64]
    poor: npt.NDArray[np.int64]


@dataclass(frozen=True)
class RawMasters:
    """Files of a set: frames as (path, tag), those of the generator's masters, and the truth."""

    folder: Path
    ifus: tuple[int, ...]
    raw: list[tuple[Path, str]]
    masters: list[tuple[Path, str]]
    truth: Path

    def frames(self, *tags: str) -> list[tuple[Path, str]]:
        """Return the frames of some tags."""
        return [frame for frame in [*self.raw, *self.masters] if frame[1] in tags]


def defective(setup: RawSetup, ifu: int, columns: int = 6) -> Defective:
    """Draw what is wrong with the detector of an IFU."""
    ny, nx = setup.shape
    rng = setup.rng(910, ifu)
    runs = []
    for i in range(columns):
        first = int(rng.integers(0, max(ny - 12, 1)))
        last = int(rng.integers(min(first + 6, ny), ny + 1))
        runs.append((int(rng.integers(2, nx - 2)), *((0, ny) if i % 3 == 0 else (first, last))))
    count = max(20, int(ny * nx * detector.BAD_FRACTION))
    hot = np.stack([rng.integers(0, ny, count), rng.integers(0, nx, count)], 1)
    rates = HOT_RATE[0] * (HOT_RATE[1] / HOT_RATE[0]) ** rng.random(count)
    return Defective(
        np.array(runs, dtype=np.int64).reshape(-1, 3), rng.choice(COLUMN_STEPS, columns), hot, rates,
        detector.bad_pixels(setup, ifu),
    )  # fmt: skip


def dark_signal(setup: RawSetup, ifu: int, wrong: Defective) -> Image:
    """Noise-free dark of an hour in count: level, glow at the edges and in one corner, hot pixels."""
    ny, nx = setup.shape
    y = (np.arange(ny, dtype=np.float32) / ny)[:, None]
    x = (np.arange(nx, dtype=np.float32) / nx)[None, :]
    glow = 1.0 + 0.6 * np.exp(-10 * y) + 0.4 * np.exp(-7 * (1 - y)) + 0.3 * x + 0.02 * ifu
    image: Image = (glow + 2.0 * np.exp(-((x - 0.5) ** 2 + (y - 1) ** 2) / 0.01)).astype(np.float32)
    image[wrong.hot[:, 0], wrong.hot[:, 1]] += wrong.rates.astype(np.float32)
    return image


def lamp_light(setup: RawSetup, ifu: int) -> Image:
    """Lamp light on the trimmed detector, about 1 in the slices; what the edges of a slice are like varies.

    The edges lie where `raw_instrument.trace_polynomials` says; beside them the profile has a slope, a wave
    and corners of its own, and a little light lies between the slices.
    """
    ny, nx = setup.shape
    light = np.full((ny, nx), 0.003, np.float32)
    y = np.arange(1, ny + 1, dtype=float)
    v = (2 * y / ny - 1)[:, None]
    trace = instrument.trace_polynomials(setup, ifu)
    through = instrument.slice_throughput(setup, ifu) * instrument.ifu_throughput(setup)[ifu]
    rng = setup.rng(912, ifu)
    for s in range(NSLICE):
        left, right = (np.polynomial.polynomial.polyval(y, trace[s, k])[:, None] for k in (1, 2))
        x1, x2 = max(int(left.min()) - 5, 1), min(int(right.max()) + 6, nx)
        x = np.arange(x1, x2 + 1, dtype=float)[None, :]
        soft = 0.5 + 0.12 * rng.random()
        slope, wave, phase = 0.08 * rng.standard_normal(), 0.02 * rng.random(), 6.28 * rng.random()
        u = (x - 0.5 * (left + right)) / (right - left)
        profile = 0.5 * (np.tanh((x - left) / soft) - np.tanh((x - right) / soft))
        profile *= (1 + slope * u + wave * np.sin(9 * u + phase)) * (0.8 + 0.2 * np.sin(2 * v + s))
        light[:, x1 - 1 : x2] += (profile * through[s]).astype(np.float32)
    return light


def read_out(
    setup: RawSetup, ifu: int, number: int, signal: Image, purpose: int, wrong: Defective
) -> npt.NDArray[np.uint16]:
    """Raw frame of a noise-free signal, with the bad columns that every frame has."""
    hits = purpose == DARK
    raw = detector.read_out(setup, ifu, number, signal, purpose, hits=hits).astype(np.float32)
    rng = setup.rng(913, ifu, purpose, number)
    for i, ((column, first, last), step) in enumerate(zip(wrong.columns, wrong.steps, strict=True)):
        x = column + setup.prescan + (2 * setup.overscan if column >= setup.nx else 0)
        rows = np.arange(first, last)
        y = rows + setup.prescan + np.where(rows >= setup.ny, 2 * setup.overscan, 0)
        flicker = abs(step) * rng.standard_normal(rows.size) if i % 2 else 0.0
        raw[y, x] += step + flicker
    return np.clip(np.rint(raw), 0, 65535).astype(np.uint16)


def _primary(setup: RawSetup, tag: str, number: int, exptime: float) -> fits.Header:
    header = primary_header(setup, number, exptime, TYPES[tag])
    header["HIERARCH ESO DPR CATG"], header["HIERARCH ESO DPR TECH"] = "CALIB", "IFU"
    header["HIERARCH ESO DPR TYPE"], header["HIERARCH ESO TPL ID"] = TYPES[tag], TEMPLATES[tag]
    header.remove("ESO PRO CATG", ignore_missing=True)
    return header


def _truth_tables(setup: RawSetup, ifu: int, wrong: Defective) -> list[fits.BinTableHDU]:
    """What is wrong with the detector, and where the slices are."""
    kinds = ["column"] * len(wrong.steps) + ["hot"] * len(wrong.rates) + ["poor"] * len(wrong.poor)
    x = np.concatenate([wrong.columns[:, 0], wrong.hot[:, 1], wrong.poor[:, 1]])
    first = np.concatenate([wrong.columns[:, 1], wrong.hot[:, 0], wrong.poor[:, 0]])
    last = np.concatenate([wrong.columns[:, 2], wrong.hot[:, 0] + 1, wrong.poor[:, 0] + 1])
    value = np.concatenate([wrong.steps, wrong.rates, np.full(len(wrong.poor), 0.3)])
    pixels = fits.BinTableHDU.from_columns(
        [
            fits.Column("kind", "8A", array=np.array(kinds)),
            fits.Column("x", "J", array=x),
            fits.Column("first", "J", array=first),
            fits.Column("last", "J", array=last),
            fits.Column("value", "D", array=value),
        ],
        name=f"CHAN{ifu:02d}.WRONG",
    )
    trace = trace_table(setup, ifu)
    trace.header["EXTNAME"] = f"CHAN{ifu:02d}.TRACE"
    return [pixels, trace]


def simulate_masters(
    folder: Path | str,
    setup: RawSetup,
    *,
    biases: int = 5,
    darks: Sequence[float] = (1800.0, 900.0, 1800.0, 3600.0),
    flats: Sequence[float] = (LAMP_TIME,) * 3,
    columns: int = 6,
    masters: bool = True,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> RawMasters:
    """Write raw frames, masters of the generator and the truth.

    Parameters
    ----------
    folder : path-like
        Made if missing.
    setup : RawSetup
    biases : int
        Number of bias frames.
    darks, flats : sequence of float
        Exposure times of the darks and lamp flats.
    columns : int
        Bad columns per IFU.
    masters : bool
        Also write a master bias, a master dark and a table of bad pixels, for recipes that need them.
    progress : callable
        Wraps the loop over IFUs.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = [
        *((f"bias{i}.fits", "BIAS", 0.0) for i in range(biases)),
        *((f"dark{i}.fits", "DARK", time) for i, time in enumerate(darks)),
        *((f"flat{i}.fits", "FLAT", time) for i, time in enumerate(flats)),
    ]
    raw = [(folder / name, tag) for name, tag, _ in wanted]
    for number, (name, tag, time) in enumerate(wanted, 1):
        fits.PrimaryHDU(header=_primary(setup, tag, number, time)).writeto(folder / name, overwrite=True)
    made = []
    if masters:
        made = [(folder / f"master_{k}.fits", f"MASTER_{k.upper()}") for k in ("bias", "dark")]
        for number, (path, tag) in enumerate(made, 40):
            fits.PrimaryHDU(header=primary_header(setup, number, 1800.0, tag)).writeto(path, overwrite=True)
    truth = fits.HDUList([fits.PrimaryHDU()])
    for line in json.dumps(asdict(setup), indent=0).splitlines():
        truth[0].header["HISTORY"] = line
    for ifu in progress(setup.ifus):
        wrong = defective(setup, ifu, columns)
        header = channel_header(setup, ifu)
        dark = dark_signal(setup, ifu, wrong)
        lamp = lamp_light(setup, ifu) * detector.pixel_response(setup, ifu) if flats else dark
        for number, (name, tag, time) in enumerate(wanted, 1):
            signal = dark * np.float32(time / 3600.0)
            if tag == "FLAT":
                signal = signal + lamp * np.float32(LAMP_LEVEL * time / LAMP_TIME)
            purpose = {"BIAS": BIAS, "DARK": DARK, "FLAT": FLAT}[tag]
            append_image(folder / name, read_out(setup, ifu, number, signal, purpose, wrong), header)
        if masters:
            _append_masters(made, setup, ifu)
        truth.extend(_truth_tables(setup, ifu, wrong))
    if masters:
        tables = [badpix_table(setup, ifu) for ifu in setup.ifus]
        path = folder / "badpix.fits"
        primary = fits.PrimaryHDU(header=primary_header(setup, 42, 1.0, "BADPIX_TABLE"))
        fits.HDUList([primary, *tables]).writeto(path, overwrite=True)
        made.append((path, "BADPIX_TABLE"))
    truth.writeto(folder / "truth.fits", overwrite=True)
    needed = {"DARK": ("MASTER_BIAS",), "FLAT": ("MASTER_BIAS", "MASTER_DARK")}
    for tag in ("BIAS", "DARK", "FLAT"):
        kinds = (tag, *needed.get(tag, ()), "BADPIX_TABLE")
        lines = [f"{path.name} {kind}\n" for path, kind in (*raw, *made) if kind in kinds]
        (folder / f"{tag.lower()}.sof").write_text("".join(lines), encoding="utf-8")
    return RawMasters(folder, setup.ifus, raw, made, folder / "truth.fits")


def _append_masters(files: list[tuple[Path, str]], setup: RawSetup, ifu: int) -> None:
    """Append the planes of an IFU to the generator's master bias and dark."""
    planes = detector.master_bias(setup, ifu, False), detector.master_dark(setup, ifu)
    for (path, _), kind, images in zip(files, ("bias", "dark"), planes, strict=True):
        unit = "adu" if kind == "bias" else "count"
        for name, data in zip(("DATA", "DQ", "STAT"), images, strict=True):
            header = channel_header(setup, ifu)
            header.update(master_header(setup, ifu, kind, "vpoly"))
            header["EXTNAME"] = f"CHAN{ifu:02d}.{name}"
            if name != "DQ":
                header["BUNIT"] = unit if name == "DATA" else f"({unit})**2"
            append_image(path, data, header)
