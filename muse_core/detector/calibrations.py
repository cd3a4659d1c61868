# SPDX-License-Identifier: BSD-3-Clause
"""The calibrations of an IFU: looked up in the files, compared with a raw exposure, kept together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from muse_core.detector.declarations import OVERSCAN_NAMES
from muse_core.detector.masters import MasterImage, find_masters
from muse_core.detector.overscan import OverscanStats
from muse_core.detector.rawframe import RawFile
from muse_core.detector.tables import (
    BadPixels,
    SliceGeometry,
    check_traces,
    check_wavecal,
    file_of,
    missing_ifu,
    read_badpix,
    read_geometry,
    read_traces,
    read_wavecals,
)
from muse_core.framework.errors import InputError, Problems
from muse_core.framework.spec import ParamValues

PORTS = (1, 2, 3, 4)
LARGEST_DETECTOR = 8192  # pixels
REQUIRED = ("MASTER_BIAS", "MASTER_FLAT", "TRACE_TABLE", "WAVECAL_TABLE", "GEOMETRY_TABLE")
T = TypeVar("T")


@dataclass(frozen=True)
class CcdCalibration:
    """What calibrates raw frames of one IFU as images; masters stay on disk.

    Attributes
    ----------
    ifu : int
    shape : tuple of int
        ``(ny, nx)`` of the trimmed image.
    bias : MasterImage or None
    bias_levels : dict of int to OverscanStats or None
        Overscan of the master bias, by quadrant; None without bias.
    dark : MasterImage or None
    dark_exptime : float
        Seconds; 0 without dark.
    flat : MasterImage or None
    bad : tuple of BadPixels
    """

    ifu: int
    shape: tuple[int, int]
    bias: MasterImage | None
    bias_levels: dict[int, OverscanStats] | None
    dark: MasterImage | None
    dark_exptime: float
    flat: MasterImage | None
    bad: tuple[BadPixels, ...]


@dataclass(frozen=True)
class IfuCalibration(CcdCalibration):
    """What takes raw frames of one IFU to pixel-table rows.

    Attributes
    ----------
    lamp_flux : float
        Integrated flux of the master flat; NaN if its header does not say.
    trace : float64[48, 2, n]
        From `read_traces`.
    wave : float64[48, i, j]
        From `read_wavecals`.
    geometry : SliceGeometry
    mode : str
        ``ESO INS MODE``.
    """

    bias: MasterImage
    flat: MasterImage
    lamp_flux: float
    trace: npt.NDArray[np.float64]
    wave: npt.NDArray[np.float64]
    geometry: SliceGeometry
    mode: str


@dataclass
class CalibrationFiles:
    """All calibrations of a run by tag and IFU, and what is wrong with those of single IFUs."""

    found: dict[str, dict[int, Any]] = field(default_factory=dict)
    faults: dict[int, list[InputError]] = field(default_factory=dict)
    paths: Mapping[str, Sequence[Path]] = field(default_factory=dict)

    def file_of(self, tag: str, ifu: int) -> Path | str:
        """See `muse_core.detector.tables.file_of`."""
        return file_of(tag, self.paths.get(tag, ()), ifu)

    def check(self, ifu: int, required: Sequence[str] = REQUIRED) -> None:
        """Raise the first fault of an IFU, or tell which calibration it lacks."""
        if self.faults.get(ifu):
            raise self.faults[ifu][0]
        for tag in required:
            if ifu not in self.found[tag]:
                raise missing_ifu(tag, self.paths.get(tag, ()), ifu)


def attempt(problems: Problems, function: Callable[..., T], *arguments: Any, default: T) -> T:
    """Call a function that opens files; its `InputError` goes to the problems of the run."""
    try:
        return function(*arguments)
    except InputError as error:
        problems.extend(error)
        return default


def open_calibrations(paths: Mapping[str, Sequence[Path]], problems: Problems) -> CalibrationFiles:
    """Read the headers of the masters and all tables.

    Parameters
    ----------
    paths : mapping of str to sequence of Path
        Files by tag; a recipe that has no use for a tag leaves it out.
    problems : Problems
        Receives what is wrong with whole files.
    """
    files = CalibrationFiles(paths=paths)
    for tag in ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT"):
        files.found[tag] = attempt(problems, find_masters, paths.get(tag, ()), files.faults, default={})
    for tag, read in (("TRACE_TABLE", read_traces), ("WAVECAL_TABLE", read_wavecals)):
        files.found[tag] = attempt(problems, read, paths.get(tag, ()), files.faults, default={})
    files.found["BADPIX_TABLE"] = attempt(problems, read_badpix, paths.get("BADPIX_TABLE", ()), default={})
    files.found["GEOMETRY_TABLE"] = {}
    if paths.get("GEOMETRY_TABLE"):
        empty: tuple[dict[int, SliceGeometry], dict[int, InputError]] = {}, {}
        places, faults = attempt(problems, read_geometry, paths["GEOMETRY_TABLE"][0], default=empty)
        files.found["GEOMETRY_TABLE"] = places
        for ifu, error in faults.items():
            files.faults.setdefault(ifu, []).append(error)
    return files


def _bias_levels(bias: MasterImage) -> dict[int, OverscanStats]:
    return {
        q: OverscanStats(
            bias.number(f"ESO DRS MUSE OVSC{q} MEAN"), bias.number(f"ESO DRS MUSE OVSC{q} STDEV"), 0
        )
        for q in PORTS
    }


def _overscan_difference(bias: MasterImage, p: ParamValues) -> str:
    """Tell in words how the overscan parameters of the bias differ from the present ones."""
    header = bias.header if "ESO PRO REC1 PARAM1 NAME" in bias.header else bias.primary
    texts, number = [], 1
    while (name := header.get(f"ESO PRO REC1 PARAM{number} NAME")) is not None:
        value = header.get(f"ESO PRO REC1 PARAM{number} VALUE")
        if name in OVERSCAN_NAMES:
            now = p[name]
            try:
                same = float(value) == float(now)
            except (TypeError, ValueError):
                same = str(value).strip() == str(now).strip()
            if not same:
                texts.append(f"{name}={value} (now {now})")
        number += 1
    return ", ".join(texts)


def setup_difference(reference: RawFile, other: RawFile, ifu: int) -> str:
    """Tell why an exposure does not belong to another one of the same IFU; "" if it does."""
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


def matching_illum(
    illum: RawFile | None, reference: RawFile, ifu: int, warnings: list[str]
) -> RawFile | None:
    """Return the ILLUM if it fits an exposure; with another setup it is left out (as in 2.8.7)."""
    reason = setup_difference(reference, illum, ifu) if illum is not None else ""
    if illum is None or not reason:
        return illum
    if ifu not in illum.headers:
        raise InputError("", f"ILLUM: {reason}")
    warnings.append(f"IFU {ifu}: ILLUM not used: {reason}")
    return None


def ccd_calibration_of(
    ifu: int,
    files: CalibrationFiles,
    raw: RawFile,
    p: ParamValues,
    warnings: list[str],
    required: Sequence[str] = (),
) -> CcdCalibration:
    """Collect what calibrates the images of one IFU, and compare it with a raw exposure.

    Parameters
    ----------
    ifu : int
    files : CalibrationFiles
    raw : RawFile
        The exposure (or the first one) that they are for.
    p : ParamValues
        For the overscan parameters.
    warnings : list of str
        Added to.
    required : sequence of str
        Tags without which the IFU cannot be used.

    Raises
    ------
    InputError
        With the reason why the IFU cannot be used.
    """
    files.check(ifu, required)
    quadrant = raw.quadrants[ifu][0]
    shape = (2 * quadrant.ny, 2 * quadrant.nx)
    if max(shape) > LARGEST_DETECTOR:
        raise InputError(
            raw.path,
            f"CHAN{ifu:02d}",
            expected=f"a detector of at most {LARGEST_DETECTOR} pixels",
            found=shape,
        )
    bias, dark, flat = (files.found[tag].get(ifu) for tag in ("MASTER_BIAS", "MASTER_DARK", "MASTER_FLAT"))
    if dark is None and files.found["MASTER_DARK"]:
        warnings.append(f"IFU {ifu}: the MASTER_DARK lacks it: the dark current is not subtracted")
    for master in (bias, flat, dark):
        if master is not None and master.shape != shape:
            raise InputError(
                master.path,
                f"CHAN{ifu:02d} DATA",
                expected=f"{shape[1]} x {shape[0]} pixels",
                found=f"{master.shape[1]} x {master.shape[0]}",
            )
    _check_modes(raw, str(raw.primary.get("ESO INS MODE", "")), bias, flat)
    difference = _overscan_difference(bias, p) if bias is not None else ""
    if bias is not None and difference:
        warnings.append(f"{bias.path.name}: made with other overscan parameters: {difference}")
    exptime = dark.number("EXPTIME") if dark is not None else 0.0
    if dark is not None and not exptime > 0:
        raise InputError(dark.path, "EXPTIME", expected="a positive time", found=exptime)
    return CcdCalibration(
        ifu=ifu,
        shape=shape,
        bias=bias,
        bias_levels=_bias_levels(bias) if bias is not None else None,
        dark=dark,
        dark_exptime=exptime,
        flat=flat,
        bad=tuple(files.found["BADPIX_TABLE"].get(ifu, ())),
    )


def calibration_of(
    ifu: int, files: CalibrationFiles, raw: RawFile, p: ParamValues, warnings: list[str]
) -> IfuCalibration:
    """Collect all that takes one IFU to pixel-table rows; see `ccd_calibration_of`.

    Raises
    ------
    InputError
        With the reason why the IFU cannot be used.
    """
    ccd = ccd_calibration_of(ifu, files, raw, p, warnings, REQUIRED)
    trace, wave = files.found["TRACE_TABLE"][ifu], files.found["WAVECAL_TABLE"][ifu]
    check_traces(trace, ccd.shape, files.file_of("TRACE_TABLE", ifu), ifu)
    check_wavecal(wave, trace, ccd.shape, files.file_of("WAVECAL_TABLE", ifu), ifu)
    flat: MasterImage = files.found["MASTER_FLAT"][ifu]
    try:
        lamp_flux = flat.number("ESO QC FLAT MASTER INTFLUX")
    except InputError as error:
        warnings.append(f"{error}; FLAT FLUX LAMP is left out")
        lamp_flux = float("nan")
    return IfuCalibration(
        **vars(ccd),
        lamp_flux=lamp_flux,
        trace=trace,
        wave=wave,
        geometry=files.found["GEOMETRY_TABLE"][ifu],
        mode=str(raw.primary.get("ESO INS MODE", "")),
    )


def _check_modes(raw: RawFile, mode: str, bias: MasterImage | None, flat: MasterImage | None) -> None:
    """Bias and flat must come from the read mode and the instrument mode of the exposure."""
    read = raw.primary.get("ESO DET READ CURID")
    if bias is not None and read is not None:
        bias_read = bias.primary.get("ESO DET READ CURID", bias.header.get("ESO DET READ CURID"))
        if bias_read is not None and bias_read != read:
            raise InputError(
                bias.path, "ESO DET READ CURID", expected=f"{read} as in {raw.path.name}", found=bias_read
            )
    if flat is None:
        return
    flat_mode = flat.primary.get("ESO INS MODE", flat.header.get("ESO INS MODE"))
    if flat_mode is not None and str(flat_mode) != mode:
        raise InputError(flat.path, "ESO INS MODE", expected=f"{mode} as in {raw.path.name}", found=flat_mode)
