# SPDX-License-Identifier: BSD-3-Clause
"""What a user may ask of a fit, checked once: `FitOptions`, and `OutputOptions` for what it leaves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, TypeAlias

import numpy as np

from imphot.errors import UserError

__all__ = ["ENGINES", "PARAMETERS", "FitOptions", "Number", "OutputOptions", "Regions", "Star", "check_star"]

ENGINES = ("fourier", "image")
PSF_MODELS = ("auto", "moffat")
PARAMETERS = ("scale", "bg", "dx", "dy", "fwhm", "beta")

# a number, also as text; None or the word none where it may be left open
Number: TypeAlias = float | str | None
# right ascension and declination [degrees], radius [arcsec]
Star: TypeAlias = tuple[float, float, float]
# None or "none"; "star" or "notstar"; a ds9 region file, its lines, or regions
Regions: TypeAlias = str | os.PathLike[str] | Iterable[Any] | None


@dataclass(frozen=True)
class FitOptions:
    """All that decides about the outcome of a fit; the fields are those of `imphot.fit_image_photometry`.

    Raises
    ------
    UserError
        for an unknown method and numbers that make no sense

    Examples
    --------
    >>> FitOptions.from_arguments({"fix_beta": "2.5", "fix_dx": "none"}).held["beta"]
    2.5
    """

    method: str = "fourier"
    regions: Regions = None
    star: Star | None = None
    segment: bool = False
    extramask: Any = None
    mask_points: float | None = None
    fix_scale: float | None = None
    fix_bg: float | None = None
    fix_dx: float | None = None
    fix_dy: float | None = None
    fix_fwhm: float | None = None
    fix_beta: float | None = None
    init_dx: float | None = None
    init_dy: float | None = None
    min_scale: float = 0.0
    hst_fwhm: float = 0.085
    hst_beta: float = 1.6
    hst_psf: Any = None
    psf: str = "auto"
    margin: float = 2.0
    taper: float = 9.0

    def __post_init__(self) -> None:
        if self.method not in ENGINES:
            raise UserError(f"Unknown method ({self.method}): choose fourier or image")
        if self.psf not in PSF_MODELS:
            raise UserError(f"Unknown PSF model ({self.psf}): choose auto or moffat")
        if not (self.margin >= 0 and self.hst_fwhm > 0 and self.hst_beta > 1):
            raise UserError(
                "margin must not be negative, hst_fwhm must be positive and hst_beta larger than one"
            )
        if self.fix_scale is not None and not self.fix_scale > 0:
            raise UserError(f"fix_scale must be positive: {self.fix_scale:g}")
        if self.mask_points is not None and self.mask_points < 0:
            raise UserError(f"The radius given to mask_points must not be negative: {self.mask_points:g}")

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """The options among the arguments of a function; what else is given is left aside.

        Numbers may come as text; None and the word none leave a parameter free. No method means "fourier",
        the documented engine, no min_scale means zero.
        """
        values = _own(cls, given)
        if values.get("method") is None:
            values["method"] = "fourier"
        if values.get("psf") is None:
            values["psf"] = "auto"
        for name in (*(f"fix_{name}" for name in PARAMETERS), "init_dx", "init_dy", "mask_points"):
            values[name] = _optional_number(values.get(name), name)
        if "min_scale" in values:
            values["min_scale"] = _optional_number(values["min_scale"], "min_scale") or 0.0
        for name in ("margin", "taper", "hst_fwhm", "hst_beta"):
            if name in values:
                values[name] = _number(values[name], name)
        if values.get("star") is not None:
            values["star"] = check_star(values["star"])
        return cls(**values)

    @property
    def held(self) -> dict[str, float | None]:
        """Values at which parameters are held; None for free ones."""
        return {name: getattr(self, f"fix_{name}") for name in PARAMETERS}

    @property
    def starts(self) -> tuple[float | None, float | None]:
        """Where dx and dy begin [arcsec]: the value held, the first guess, or None."""
        return (
            self.init_dx if self.fix_dx is None else self.fix_dx,
            self.init_dy if self.fix_dy is None else self.fix_dy,
        )

    @property
    def hst_moffat(self) -> tuple[float, float]:
        """Width [arcsec] and index of the Moffat taken for the HST PSF."""
        return self.hst_fwhm, self.hst_beta


@dataclass(frozen=True)
class OutputOptions:
    """What a fit leaves on the screen and on the disk; see `imphot.fit_image_photometry`."""

    display: bool = False
    nowait: bool = False
    hardcopy: str | None = None
    title: str | None = None
    fig: Any = None
    save: bool = False
    apply: bool = False
    resample: bool = False

    @classmethod
    def from_arguments(cls, given: Mapping[str, Any]) -> Self:
        """The options among the arguments of a function; what else is given is left aside."""
        return cls(**_own(cls, given))

    @property
    def file_format(self) -> str:
        """Format of the plot to be written, or ""."""
        text = "" if self.hardcopy is None else str(self.hardcopy)
        return "" if text == "none" else text.lstrip(".")

    @property
    def wants_plot(self) -> bool:
        """Is anything to be drawn?"""
        return bool(self.display or self.file_format or self.fig is not None)


def _own(kind: type[FitOptions] | type[OutputOptions], given: Mapping[str, Any]) -> dict[str, Any]:
    return {f.name: given[f.name] for f in fields(kind) if f.name in given}


def _number(value: Any, name: str) -> float:
    """A finite number; name says which argument it is."""
    try:
        out = float(value)
    except (TypeError, ValueError) as err:
        raise UserError(f"The value of {name} is not a number: {value}") from err
    if not np.isfinite(out):
        raise UserError(f"The value of {name} is not a finite number: {value}")
    return out


def _optional_number(value: Any, name: str) -> float | None:
    if value is None or (isinstance(value, str) and value.strip().lower() == "none"):
        return None
    return _number(value, name)


def check_star(star: Any) -> Star:
    """The star argument as three numbers: ra, dec [degrees] and a positive radius [arcsec]."""
    try:
        ra, dec, radius = (float(value) for value in star)
    except (TypeError, ValueError) as err:
        raise UserError("The star argument should be a tuple of (ra,dec,radius)") from err
    if not radius > 0:
        raise UserError("The radius given to the star argument must be > 0")
    if not -90.0 <= dec <= 90.0:
        raise UserError(
            f"The declination given to the star argument is {dec:g}: it must lie between -90 and 90 degrees"
        )
    return ra, dec, radius
