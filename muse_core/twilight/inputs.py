# SPDX-License-Identifier: BSD-3-Clause
"""Open and check everything a sky-flat run needs, before the first pixel is processed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from muse_core.detector.combine import CombinePlan
from muse_core.detector.errors import DetectorError
from muse_core.detector.fitsfile import opened
from muse_core.detector.masters import MasterImage, find_masters
from muse_core.detector.overscan import (
    CorrectPlan,
    OverscanStats,
    RejectPlan,
    parse_correct,
    parse_reject,
)
from muse_core.detector.rawframe import RawFile, open_raw
from muse_core.detector.tables import (
    BadPixels,
    SliceGeometry,
    check_traces,
    check_wavecal,
    read_badpix,
    read_geometry,
    read_traces,
    read_wavecals,
)

IFUS = range(1, 25)
PORTS = (1, 2, 3, 4)
MAX_ORDER = 30
OVERSCAN_PARAMETERS = ("overscan", "ovscreject", "ovscsigma", "ovscignore")


@dataclass(frozen=True)
class DetectorPlan:
    """Parameters of the CCD part, parsed."""

    reject: RejectPlan
    correct: CorrectPlan
    sigma: float
    ignore: int
    combine: CombinePlan
    scale: bool


@dataclass(frozen=True)
class IfuInputs:
    """All that is needed to process one IFU."""

    ifu: int
    exposures: tuple[RawFile, ...]
    numbers: tuple[int, ...]
    illum: RawFile | None
    bias: MasterImage
    bias_levels: dict[int, OverscanStats]
    dark: MasterImage | None
    dark_exptime: float
    flat: MasterImage
    lamp_flux: float
    bad: tuple[BadPixels, ...]
    trace: np.ndarray
    wave: np.ndarray
    geometry: SliceGeometry
    mode: str

    @property
    def shape(self) -> tuple[int, int]:
        """Size of the trimmed image."""
        return self.bias.shape


@dataclass
class TwilightInputs:
    """Checked inputs: usable IFUs, failed IFUs with reasons, and warnings."""

    exposures: tuple[RawFile, ...]
    illum: RawFile | None
    ifus: list[IfuInputs]
    failed: dict[int, str]
    vignetting_mask: np.ndarray | None
    mode: str
    warnings: list[str] = field(default_factory=list)

    @property
    def narrow_field(self) -> bool:
        """Narrow-field mode."""
        return self.mode.startswith("NFM")

    def used_frames(self, frames) -> list:
        """Frames that are in the cube: raw frames that an IFU used, all calibrations."""
        used = {exposure.path for job in self.ifus for exposure in job.exposures}
        used |= {job.illum.path for job in self.ifus if job.illum is not None}
        raw = [frame for tag in ("SKYFLAT", "ILLUM") for frame in frames[tag] if frame.path in used]
        return [*raw, *(f for f in frames if f.tag not in ("SKYFLAT", "ILLUM", "VIGNETTING_MASK"))]


def parse_detector(p) -> DetectorPlan:
    """Parse the parameters of the CCD part (``ValueError`` with a plain message if they make no sense)."""
    if p.ovscignore < 0:
        raise ValueError(f"ovscignore={p.ovscignore}: must not be negative")
    if min(p.nlow, p.nhigh) < 0 or p.nkeep < 1:
        raise ValueError(f"nlow={p.nlow}, nhigh={p.nhigh}, nkeep={p.nkeep}: use at least 0, 0 and 1")
    if p.combine == "sigclip" and min(p.lsigma, p.hsigma) <= 0:
        raise ValueError(f"lsigma={p.lsigma}, hsigma={p.hsigma}: must be positive")
    return DetectorPlan(
        parse_reject(p.ovscreject),
        parse_correct(p.overscan),
        p.ovscsigma,
        p.ovscignore,
        CombinePlan(p.combine, p.nlow, p.nhigh, p.nkeep, p.lsigma, p.hsigma),
        p.scale,
    )


def check_parameters(p) -> list[tuple[str, str, str]]:
    """Faults of single parameters as (name, expected, found)."""
    faults = []
    if not p.lambdamin < p.lambdamax:
        faults.append(
            ("lambdamin, lambdamax", "lambdamin below lambdamax", f"{p.lambdamin:g}, {p.lambdamax:g}")
        )
    if not (p.dlambda > 0 and np.isfinite(p.dlambda)):
        faults.append(("dlambda", "a positive step in Angstrom", f"{p.dlambda:g}"))
    for name in ("xorder", "yorder"):
        if not 0 <= p[name] <= MAX_ORDER:
            faults.append((name, f"an order from 0 to {MAX_ORDER}", str(p[name])))
    if not np.isfinite(p.vignmaskedges):
        faults.append(("vignmaskedges", "a finite number", str(p.vignmaskedges)))
    if p.vignnfmmask < 0:
        faults.append(("vignnfmmask", "a number of rows", str(p.vignnfmmask)))
    for name in ("vignxpar", "vignypar"):
        if p.vignsmooth != "polyfit" and p[name] == 0:
            faults.append((name, "a size of at least 1 pixel", "0"))
        if p.vignsmooth == "polyfit" and p[name] > MAX_ORDER:
            faults.append((name, f"an order up to {MAX_ORDER}", str(p[name])))
    try:
        parse_detector(p)
    except ValueError as error:
        name, _, text = str(error).partition(":")
        faults.append((name.strip(), text.strip() or "a usable value", "the value given"))
    return faults


class _Collector:
    """Turns `DetectorError` into entries of the framework's problem list."""

    def __init__(self, problems):
        self.problems = problems

    def note(self, error: DetectorError) -> None:
        self.problems.add(
            error.file, error.item, expected=error.expected, found=error.found, remedy=error.remedy
        )

    def attempt(self, function, *args, default=None):
        try:
            return function(*args)
        except DetectorError as error:
            self.note(error)
            return default


def _read_mask(path: Path) -> np.ndarray:
    try:
        with opened(path, memmap=False) as hdus:
            for hdu in hdus:
                if hdu.is_image and hdu.data is not None:
                    if hdu.data.ndim != 2 or hdu.data.dtype.kind not in "iub":
                        break
                    return np.asarray(hdu.data) != 0
    except (OSError, TypeError) as error:
        raise DetectorError(path, "VIGNETTING_MASK", "a readable image", error) from None
    raise DetectorError(path, "VIGNETTING_MASK", "a two-dimensional integer image", "none in this file")


def _bias_levels(bias: MasterImage) -> dict[int, OverscanStats]:
    return {
        q: OverscanStats(
            bias.number(f"ESO DRS MUSE OVSC{q} MEAN"), bias.number(f"ESO DRS MUSE OVSC{q} STDEV"), 0
        )
        for q in PORTS
    }


def _overscan_difference(bias: MasterImage, p) -> str:
    """Tell in words how the overscan parameters of the bias differ from the present ones."""
    header = bias.header if "ESO PRO REC1 PARAM1 NAME" in bias.header else bias.primary
    texts, number = [], 1
    while (name := header.get(f"ESO PRO REC1 PARAM{number} NAME")) is not None:
        value = header.get(f"ESO PRO REC1 PARAM{number} VALUE")
        if name in OVERSCAN_PARAMETERS:
            now = p[name]
            try:
                same = float(value) == float(now)
            except (TypeError, ValueError):
                same = str(value).strip() == str(now).strip()
            if not same:
                texts.append(f"{name}={value} (now {now})")
        number += 1
    return ", ".join(texts)


def _check_setup(reference: RawFile, other: RawFile, ifu: int) -> str:
    if ifu not in other.headers:
        return str(other.faults.get(ifu, f"{other.path}: CHAN{ifu:02d} is missing"))
    a, b = reference.setup(ifu), other.setup(ifu)
    for key, value in a.items():
        if b[key] != value:
            where = f"{other.path}: CHAN{ifu:02d} {key}"
            return f"{where}: expected {value} as in {reference.path.name}, found {b[key]}"
    shape, now = reference.quadrants[ifu][0].frame_shape, other.quadrants[ifu][0].frame_shape
    if shape != now:
        return f"{other.path}: CHAN{ifu:02d} image size: expected {shape[::-1]}, found {now[::-1]}"
    return ""


class _IfuBuilder:
    """Collects the inputs of one IFU or the reason why it cannot be used."""

    def __init__(self, parts: dict, p, warnings: list[str], compat: bool):
        self.parts = parts
        self.p = p
        self.warnings = warnings
        self.compat = compat

    def build(self, ifu: int) -> IfuInputs:
        parts = self.parts
        usable, numbers, reasons = [], [], []
        for number, exposure in enumerate(parts["exposures"], 1):
            if not usable and ifu in exposure.headers:
                usable.append(exposure)
                numbers.append(number)
                continue
            if not usable:
                reasons.append(str(exposure.faults.get(ifu, f"{exposure.path}: no CHAN{ifu:02d}")))
                continue
            reason = _check_setup(usable[0], exposure, ifu)
            if reason:
                reasons.append(reason)
            else:
                usable.append(exposure)
                numbers.append(number)
        needed = self._needed()
        if len(usable) < needed:
            raise ValueError(
                "; ".join(reasons)
                or f"{len(usable)} SKYFLAT frames have CHAN{ifu:02d}, combine={self.p.combine} needs {needed}"
            )
        self.warnings += [f"IFU {ifu}: exposure skipped: {reason}" for reason in reasons]
        if parts["faults"].get(ifu):
            raise parts["faults"][ifu][0]
        for tag in ("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE"):
            if ifu not in parts[tag]:
                raise ValueError(f"no {tag} with CHAN{ifu:02d} among the inputs")
        if self.compat:  # 2.8.7 counts the used ones
            numbers = range(1, len(usable) + 1)
        return self._complete(ifu, tuple(usable), tuple(numbers))

    def _needed(self) -> int:
        if self.p.combine == "sigclip":
            return 3
        return self.p.nlow + self.p.nhigh + self.p.nkeep if self.p.combine == "minmax" else 1

    def _complete(self, ifu, usable, numbers) -> IfuInputs:
        parts = self.parts
        first = usable[0]
        quadrant = first.quadrants[ifu][0]
        shape = (2 * quadrant.ny, 2 * quadrant.nx)
        if max(shape) > 8192:
            raise DetectorError(first.path, f"CHAN{ifu:02d}", "a detector of at most 8192 pixels", shape)
        bias, flat = parts["MASTER_BIAS"][ifu], parts["MASTER_FLAT"][ifu]
        dark = parts["MASTER_DARK"].get(ifu)
        for master in (bias, flat, dark):
            if master is not None and master.shape != shape:
                raise DetectorError(
                    master.path,
                    f"CHAN{ifu:02d} DATA",
                    f"{shape[1]} x {shape[0]} pixels",
                    f"{master.shape[1]} x {master.shape[0]}",
                )
        mode = str(first.primary.get("ESO INS MODE", ""))
        read = first.primary.get("ESO DET READ CURID")
        bias_read = bias.primary.get("ESO DET READ CURID", bias.header.get("ESO DET READ CURID"))
        if bias_read is not None and read is not None and bias_read != read:
            raise DetectorError(bias.path, "ESO DET READ CURID", f"{read} as in {first.path.name}", bias_read)
        flat_mode = flat.primary.get("ESO INS MODE", flat.header.get("ESO INS MODE"))
        if flat_mode is not None and str(flat_mode) != mode:
            raise DetectorError(flat.path, "ESO INS MODE", f"{mode} as in {first.path.name}", flat_mode)
        difference = _overscan_difference(bias, self.p)
        if difference:
            self.warnings.append(f"{bias.path.name}: made with other overscan parameters: {difference}")
        exptime = dark.number("EXPTIME") if dark is not None else 0.0
        if dark is not None and not exptime > 0:
            raise DetectorError(dark.path, "EXPTIME", "a positive time", exptime)
        if self.p.scale and min(e.exptime for e in usable) <= 0:
            raise ValueError("scale=true needs positive EXPTIME in all SKYFLAT frames")
        trace, wave = parts["TRACE_TABLE"][ifu], parts["WAVECAL_TABLE"][ifu]
        check_traces(trace, shape, "TRACE_TABLE", ifu)
        check_wavecal(wave, trace, shape, "WAVECAL_TABLE", ifu)
        try:
            lamp = flat.number("ESO QC FLAT MASTER INTFLUX")
        except DetectorError as error:
            self.warnings.append(f"{error}; FLAT FLUX LAMP is left out")
            lamp = float("nan")
        illum = parts["illum"]
        reason = _check_setup(first, illum, ifu) if illum is not None else ""
        if reason and ifu not in illum.headers:
            raise ValueError(f"ILLUM: {reason}")
        if reason:  # another setup: as 2.8.7, go on without
            self.warnings.append(f"IFU {ifu}: ILLUM not used: {reason}")
            illum = None
        return IfuInputs(
            ifu,
            usable,
            numbers,
            illum,
            bias,
            _bias_levels(bias),
            dark,
            exptime,
            flat,
            lamp,
            tuple(parts["BADPIX_TABLE"].get(ifu, ())),
            trace,
            wave,
            parts["GEOMETRY_TABLE"][ifu],
            mode,
        )


def open_inputs(paths: dict[str, list[Path]], p, problems, *, compat: bool = False) -> TwilightInputs | None:
    """Open all files, note global faults in ``problems``, and sort the IFUs into usable and failed ones.

    Parameters
    ----------
    paths : dict of str to list of Path
        Files by tag.
    p : parameters
    problems : Problems
        Receives faults that concern the whole run.
    compat : bool
        Exposures are numbered as by the C pipeline.

    Returns
    -------
    TwilightInputs or None
        None if something global is wrong (then ``problems`` is not empty).
    """
    collect = _Collector(problems)
    for name, expected, found in check_parameters(p):
        problems.add("", f"parameter {name}", expected=expected, found=found)
    for tag in ("ILLUM", "GEOMETRY_TABLE", "VIGNETTING_MASK"):
        if len(paths[tag]) > 1:
            problems.add(
                paths[tag][1], f"input {tag}", expected="at most one frame", found=str(len(paths[tag]))
            )
    exposures = tuple(r for path in paths["SKYFLAT"] if (r := collect.attempt(open_raw, path)) is not None)
    illum = collect.attempt(open_raw, paths["ILLUM"][0]) if paths["ILLUM"] else None
    faults: dict[int, list[DetectorError]] = {}
    parts: dict = {"exposures": exposures, "illum": illum, "faults": faults}
    for tag in ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT"):
        parts[tag] = collect.attempt(find_masters, paths[tag], faults, default={})
    parts["TRACE_TABLE"] = collect.attempt(read_traces, paths["TRACE_TABLE"], faults, default={})
    parts["WAVECAL_TABLE"] = collect.attempt(read_wavecals, paths["WAVECAL_TABLE"], faults, default={})
    parts["BADPIX_TABLE"] = collect.attempt(read_badpix, paths["BADPIX_TABLE"], default={})
    geometry = ({}, {})
    if paths["GEOMETRY_TABLE"]:
        geometry = collect.attempt(read_geometry, paths["GEOMETRY_TABLE"][0], default=geometry)
    parts["GEOMETRY_TABLE"] = geometry[0]
    for ifu, error in geometry[1].items():
        faults.setdefault(ifu, []).append(error)
    mask = collect.attempt(_read_mask, paths["VIGNETTING_MASK"][0]) if paths["VIGNETTING_MASK"] else None
    modes = sorted({str(e.primary.get("ESO INS MODE")) for e in exposures})
    if len(modes) > 1:
        problems.add(
            exposures[-1].path,
            "ESO INS MODE",
            expected="one mode in all SKYFLAT frames",
            found=", ".join(modes),
        )
    if problems:
        return None
    warnings: list[str] = []
    builder = _IfuBuilder(parts, p, warnings, compat)
    ifus, failed = [], {}
    for ifu in IFUS:
        if not any(ifu in e.headers or ifu in e.faults for e in exposures):
            continue
        try:
            ifus.append(builder.build(ifu))
        except ValueError as error:
            failed[ifu] = str(error)
    if not ifus:
        for ifu, reason in failed.items():
            problems.add("", f"IFU {ifu}", found=reason)
        if not failed:
            problems.add("", "input SKYFLAT", expected="channels CHAN01 to CHAN24", found="none in common")
        return None
    return TwilightInputs(exposures, illum, ifus, failed, mask, modes[0], list(dict.fromkeys(warnings)))
