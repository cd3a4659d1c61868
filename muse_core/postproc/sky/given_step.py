# SPDX-License-Identifier: BSD-3-Clause
"""Subtraction of a sky that was found elsewhere: lines and a continuum, or a spectrum."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from muse_core.data.calibration import open_fits, read_curve
from muse_core.data.header_values import Keywords
from muse_core.framework.errors import ParameterError
from muse_core.postproc.exposure.reduction import PIXTABLE
from muse_core.postproc.inputs.calibration_frames import read_header
from muse_core.postproc.lsf.calibrations import checked_profiles
from muse_core.postproc.sky.calibrations import SkyCalibrations, read_sky
from muse_core.postproc.sky.model import SkyModel
from muse_core.postproc.sky.model_fit import cut_to_continuum, place_lines_in_rows
from muse_core.postproc.sky.spectrum import SkyCurve
from muse_core.postproc.white_light.calibrations import MaskCalibrations

if TYPE_CHECKING:
    from muse_core.framework import Frame, ParamValues, RunContext
    from muse_core.postproc.exposure.reduction import Reduction
    from muse_core.postproc.inputs.calibration_frames import CalibrationFrames

SUBTRACTED = (f"{PIXTABLE} SKYSUB", True, "Pixel table was sky-subtracted")
FLAT_FLUX = "ESO DRS MUSE FLAT FLUX"
FAINTEST_LEVEL = 1e-30
"""Flat-field flux at least: no lamp is fainter, and a sky scaled by less is no number."""


@dataclass(frozen=True)
class FlatLevel:
    """Which flat-field flux a sky belongs to: keyword, and value of reference ("", 0: it fits all tables)."""

    keyword: str = ""
    reference: float = 0.0

    def factor(self, keywords: Keywords) -> float:
        """Return the factor that takes the sky to the level of a table.

        >>> FlatLevel("ESO DRS MUSE FLAT FLUX SKY", 2.0).factor(Keywords({"ESO DRS MUSE FLAT FLUX SKY": 3.0}))
        1.5
        """
        flux = keywords.number(self.keyword) if self.keyword else None
        return flux / self.reference if flux and self.reference else 1.0


@dataclass(frozen=True)
class GivenSky:
    """Lines, continuum and profiles, and the flat-field level they belong to."""

    model: SkyCalibrations
    level: FlatLevel


def load_model(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> GivenSky:
    """Read SKY_LINES, SKY_CONTINUUM and LSF_PROFILE."""
    needed = (
        ("LSF_PROFILE",) if ctx.defects.sky_partly_given else ("LSF_PROFILE", "SKY_LINES", "SKY_CONTINUUM")
    )
    for tag in needed:
        frames.require(tag, "the model of the sky", "Add it to the set of frames.")
    for tag in ("SKY_LINES", "SKY_CONTINUUM"):
        if not frames[tag]:
            ctx.log.warning("Could not load %s", tag)
    from muse_core.postproc.astrometry.step import AstrometryCalibrations

    lines, continuum = read_sky(frames, ctx)
    model = SkyCalibrations(
        lines,
        continuum,
        checked_profiles(frames, "all" if lines is not None else None),
        tuple(frame.path for frame in frames["LSF_PROFILE"]),
        MaskCalibrations(None, AstrometryCalibrations(None, None)),
    )
    return GivenSky(model, _level(frames, p, ctx))


def _level(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> FlatLevel:
    """Return the flat-field level of the parameters, or that of the first pixel table."""
    given = {"SKY": p.flux_sky, "LAMP": p.flux_lamp}
    for lamp, reference in given.items():
        if 0.0 < reference < FAINTEST_LEVEL:
            raise ParameterError(
                f"parameter flux_{lamp.lower()}: {reference:g} is no flat-field flux: expected 0 (that of "
                f"the first table) or more than {FAINTEST_LEVEL:g}"
            )
        if reference > 0.0:
            return FlatLevel(f"{FLAT_FLUX} {lamp}", reference)
    first = frames.first("PIXTABLE_REDUCED")
    if first is None or ctx.defects.flat_level_of_first_table_ignored:
        return FlatLevel()
    try:
        header = read_header(first)
    except (OSError, ValueError):  # told by those who open it as a pixel table
        return FlatLevel()
    keywords = Keywords(header, integers_missing=ctx.defects.integer_keywords)
    for lamp in given:
        found = keywords.number(f"{FLAT_FLUX} {lamp}")
        if found:
            return FlatLevel(f"{FLAT_FLUX} {lamp}", found)
    return FlatLevel()


def correct_model(exposure: Reduction, given: GivenSky, p: ParamValues, ctx: RunContext) -> SkyModel:
    """Subtract lines and continuum, at the flat-field level of the table."""
    level = given.level
    factor = level.factor(exposure.keywords)
    if level.keyword and not exposure.keywords.number(level.keyword):
        text = "exposure %d has no %s: the sky is subtracted as it is, at the level %g"
        ctx.log.warning(text, exposure.number, level.keyword, level.reference)
    if factor != 1.0:
        ctx.log.info("sky multiplied by %.6f, the ratio of the flat-field fluxes", factor)
    curve = lines = None
    if given.model.continuum is not None:
        lam, flux = given.model.continuum
        curve = cut_to_continuum(exposure, (lam, flux * factor), ctx.log)
    if given.model.lines is not None:
        scaled = replace(given.model.lines, flux=given.model.lines.flux * factor)
        lines = place_lines_in_rows(exposure, scaled, given.model, ctx)
    exposure.chain.sorted_slices = True  # the C recipe leaves the rows of a slice in order of wavelength
    exposure.product.set_card(*SUBTRACTED)
    return SkyModel(curve, lines)


@dataclass(frozen=True)
class GivenSpectrum:
    """SKY_SPECTRUM and its unit, None for a faulty one."""

    curve: SkyCurve | None
    unit: str


def load_spectrum(frames: CalibrationFrames, p: ParamValues, ctx: RunContext) -> GivenSpectrum:
    """Read SKY_SPECTRUM."""
    frames.require("SKY_SPECTRUM", "the sky", "Add one made by muse_scipost or muse_create_sky.")
    curve = frames.read("SKY_SPECTRUM", _spectrum)
    frames.check("SKY_SPECTRUM", None if curve is None else {"lambda": curve.lam, "data": curve.value})
    return GivenSpectrum(curve, spectrum_unit(frames))


def spectrum_unit(frames: CalibrationFrames) -> str:
    """Return the unit of the fluxes of SKY_SPECTRUM, "" if it does not tell."""
    return frames.read("SKY_SPECTRUM", _unit) or ""


def _spectrum(frame: Frame) -> SkyCurve:
    lam, data = read_curve(frame, ("lambda", "data"))
    return SkyCurve.from_nodes(lam, data)


def _unit(frame: Frame) -> str:
    with open_fits(frame.path) as hdus:
        for hdu in hdus[1:]:
            for column in getattr(hdu, "columns", ()):
                if column.name == "data":
                    return str(column.unit or "")
    return ""


def correct_spectrum(exposure: Reduction, given: GivenSpectrum, p: ParamValues, ctx: RunContext) -> SkyModel:
    """Subtract a spectrum; rows outside of it are left out."""
    if given.curve is None:
        raise ValueError("a run without SKY_SPECTRUM ends before")
    curve = cut_to_continuum(exposure, (given.curve.lam, given.curve.value), ctx.log, "SKY_SPECTRUM")
    exposure.chain.sorted_slices = True  # as above
    if not ctx.defects.sky_of_any_unit:
        exposure.product.set_card(*SUBTRACTED)
    return SkyModel(curve)
