# SPDX-License-Identifier: BSD-3-Clause
"""What the parameters and small frames of muse_imphot ask for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from imphot.ds9regions import Ds9Circle, Ds9Region, Ds9Regions
from imphot.errors import UserError
from imphot.images.opening import read_plane
from imphot.options import PARAMETERS, FitOptions, Star
from muse_core.data.input_rules import INPUT_RULES
from muse_core.data.rules import check
from muse_core.framework import Frame, Frames, InputError, ParameterError, ParamValues, RunContext
from muse_core.framework.fits_file import number_column, open_fits

__all__ = ["Curve", "Settings", "read_filter", "read_settings"]

Curve = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # wavelengths [Angstrom], throughputs


@dataclass(frozen=True)
class Settings:
    """How the exposures of a run are fitted.

    Parameters
    ----------
    method : "image", "fourier", "star" or "both"
    options : options of the image fit; a star fit takes the star, fix_fwhm and fix_beta of them
    curve : filter curve with which cubes are collapsed, None without cubes
    pictures : the fits are to give pictures
    names : the files of regions, mask and PSF, for messages about a fit in which they take part
    """

    method: str
    options: FitOptions
    curve: Curve | None
    pictures: bool
    names: tuple[str, ...] = ()


def read_settings(frames: Frames, p: ParamValues, ctx: RunContext) -> Settings:
    """Check the parameters and read the frames that belong to them; faults go to ctx.problems.

    Raises
    ------
    ParameterError
        if a star is wanted and its position not given
    InputError
        for unreadable regions, PSF and filter curves
    """
    star = _star(p)
    regions, mask, psf = (frames.first(tag) for tag in ("IMPHOT_REGIONS", "IMPHOT_MASK", "HST_PSF"))
    mask_points = p.mask_radius if p.mask_points or p.regions == "points" else None
    if p.method == "fourier" and (psf or mask_points):
        ctx.log.warning("HST_PSF and masked point sources are not used by the method fourier")
    options = FitOptions.from_arguments(
        {
            "method": "fourier" if p.method == "fourier" else "image",
            "star": star,
            "regions": _regions(regions.path if regions else None, p.regions, star),
            "extramask": str(mask.path) if mask else None,
            "hst_psf": _psf(psf) if psf else None,
            "mask_points": mask_points,
        }
        | {name: getattr(p, name) for name in _PARAMETERS}
    )
    curve = _curve(frames, p, ctx)
    names = tuple(frame.name for frame in (regions, mask, psf) if frame is not None)
    return Settings(p.method, options, curve, bool(set(p.save) - {"hst"}) or ctx.report_requested, names)


LARGEST_PSF = 4_000_000  # pixels


def _psf(frame: Frame) -> npt.NDArray[np.float64]:
    """Image of a PSF; it must have light, and no more pixels than a PSF may have."""
    values = read_plane(frame.path, frame.tag).astype(float)
    if values.size > LARGEST_PSF:
        raise UserError(
            file=frame.path, item=frame.tag, expected=f"at most {LARGEST_PSF} pixels", found=f"{values.size}"
        )
    if not (np.isfinite(values).any() and np.nansum(values) > 0):
        raise UserError(file=frame.path, item=frame.tag, expected="the light of a star", found="none")
    return values


_PARAMETERS = (
    *(f"fix_{name}" for name in PARAMETERS),
    *("min_scale", "init_dx", "init_dy", "hst_fwhm", "hst_beta", "margin", "taper", "segment", "psf"),
)


def _star(p: ParamValues) -> Star | None:
    if p.star_ra is not None and p.star_dec is not None:
        return p.star_ra, p.star_dec, p.star_radius
    if p.method in ("star", "both") or p.regions in ("star", "notstar"):
        raise ParameterError(
            f"method={p.method} with regions={p.regions} needs the position of a star: set star_ra and "
            "star_dec"
        )
    return None


def _regions(path: Path | None, mode: str, star: Star | None) -> list[Ds9Region] | None:
    """The regions of a run: those of a file, and the circle of the star for the modes star and notstar."""
    try:
        regions = list(Ds9Regions(str(path))) if path is not None else []
    except UserError as err:
        raise UserError(f"Region parsing error in {path}: {err}") from err
    if mode in ("star", "notstar") and star is not None:
        regions.append(Ds9Circle(mode == "notstar", "fk5", star[0], star[1], star[2] / 3600.0))
    return regions or None


def _curve(frames: Frames, p: ParamValues, ctx: RunContext) -> Curve | None:
    """The filter curve for cubes; notes when nothing to fit or nothing to compare with was given."""
    cubes = frames["DATACUBE_FINAL"]
    if not frames["IMAGE_FOV"] and not cubes:
        ctx.problems.add("", "IMAGE_FOV", expected="at least one IMAGE_FOV or DATACUBE_FINAL", found="none")
    if not frames["HST_IMAGE"] and not frames["HST_IMAGE_REGRID"]:
        ctx.problems.add(
            "", "HST_IMAGE", expected="at least one HST_IMAGE, or HST_IMAGE_REGRID", found="none"
        )
    if not cubes:
        return None
    filters = frames.first("FILTER_LIST")
    if filters is None or not p.filter:
        ctx.problems.add(
            cubes[0].path,
            "DATACUBE_FINAL",
            expected="a FILTER_LIST and the parameter filter",
            found="no FILTER_LIST" if filters is None else "no filter",
            remedy="Cubes are collapsed with a filter curve.",
        )
        return None
    lam, throughput = read_filter(filters.path, p.filter)
    columns = {"lambda": lam, "throughput": throughput}
    check(filters.path, INPUT_RULES["FILTER_LIST"], columns, ctx)
    return lam, throughput


def read_filter(path: Path, name: str) -> Curve:
    """Wavelengths [Angstrom] and throughputs of one filter of a FILTER_LIST.

    The name counts as it is written; else a single one that differs in the size of letters is taken.
    """
    from astropy.io import fits

    with open_fits(path, item="FILTER_LIST") as hdus:
        tables = {
            str(hdu.header.get("EXTNAME", "")).strip(): hdu
            for hdu in reversed(hdus[1:])
            if isinstance(hdu, fits.BinTableHDU)
        }
        similar = [known for known in tables if known.upper() == name.upper()]
        if name not in tables and len(similar) != 1:
            known = ", ".join(sorted(tables)) or "none"
            raise UserError(f"The filter {name!r} is not in {path}: choose one of {known}")
        table = tables[name if name in tables else similar[0]]
        columns = {column.lower(): column for column in table.columns.names}
        if not {"lambda", "throughput"} <= set(columns):
            raise UserError(f"The filter {name} of {path} lacks the columns lambda and throughput")
        lam, throughput = (number_column(path, table, columns[key]) for key in ("lambda", "throughput"))
    for key, values in (("lambda", lam), ("throughput", throughput)):
        if not values.size or not np.isfinite(values).all():
            bad = np.flatnonzero(~np.isfinite(values))
            found = f"{values[bad[0]]} in row {bad[0] + 1}" if bad.size else "no row"
            raise InputError(path, f"filter {name}: column {key}", expected="finite numbers", found=found)
    if not (np.diff(lam) > 0).all() or not (throughput > 0).any():
        raise InputError(
            path, f"filter {name}", expected="wavelengths that increase, and some throughput",
            found=f"{lam.size} wavelengths of {lam[0]:g} to {lam[-1]:g}, throughput {throughput.max():g}",
        )  # fmt: skip
    return lam, throughput
