# SPDX-License-Identifier: BSD-3-Clause
"""The three command lines: fit_photometry, regrid_hst_to_muse and make_wideband_image."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from imphot.errors import UserError, WorkerError

__all__ = [
    "FIT_BOTH",
    "FIT_IMAGE",
    "FIT_STAR",
    "ImphotArgumentParser",
    "extract_function_args",
    "fit_photometry_main",
    "make_wideband_image_main",
    "regrid_hst_to_muse_main",
]

FIT_IMAGE = 1
FIT_STAR = 2
FIT_BOTH = 3


def optional_number(text: str | None) -> float | None:
    """A number, or None for the word none."""
    if text is None or str(text).strip().lower() == "none":
        return None
    try:
        return float(text)
    except ValueError as err:
        raise UserError(f"could not convert string to float: {text!r} (give a number or none)") from err


class ImphotArgumentParser(argparse.ArgumentParser):
    """Argument parser with the options of the fitting functions.

    Parameters
    ----------
    functions : {FIT_IMAGE, FIT_STAR, FIT_BOTH}
        which functions the options are for
    *args, **kwargs
        for argparse.ArgumentParser
    """

    FIT_IMAGE = FIT_IMAGE
    FIT_STAR = FIT_STAR
    FIT_BOTH = FIT_BOTH

    def __init__(self, functions: int, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        image = bool(functions & FIT_IMAGE)
        number: dict[str, Any] = {"type": optional_number, "metavar": "VALUE"}
        add = self.add_argument
        if image:
            add("--regions", default="star", help="none, star, notstar or a ds9 region file (default: star)")
        add(
            "--star",
            nargs=3,
            type=float,
            metavar=("RA", "DEC", "RADIUS"),
            default=None,
            help="position [deg] of a star and radius [arcsec] around it; adds a fit of this star",
        )
        if image:
            add("--segment", action="store_true", help="leave out pixels without a source")
            for name, what in (
                ("scale", "flux scale"),
                ("bg", "background"),
                ("dx", "offset along x [arcsec]"),
                ("dy", "offset along y [arcsec]"),
            ):
                add(f"--fix_{name}", default=None, help=f"hold the {what} at this value, or none", **number)
        add("--fix_fwhm", default=None, help="hold the width of the PSF [arcsec], or none", **number)
        add(
            "--fix_beta",
            default=2.5,
            help="hold the index of the Moffat PSF, or none to fit it (default: 2.5)",
            **number,
        )
        if image:
            add(
                "--hst_fwhm", type=float, default=0.085, help="width of the HST PSF [arcsec] (default: 0.085)"
            )
            add("--hst_beta", type=float, default=1.6, help="Moffat index of the HST PSF (default: 1.6)")
            add(
                "--margin",
                type=float,
                default=2.0,
                help="zeros around the image [arcsec], engine fourier (default: 2)",
            )
            add("--save", action="store_true", help="write image, model, residuals and their transforms")
            add(
                "--taper",
                type=int,
                default=9,
                help="softened border of masks [pixel], engine fourier (default: 9)",
            )
            add(
                "--extramask",
                default=None,
                metavar="FILE",
                help="FITS image of pixels to leave out (not zero)",
            )
        add("--display", action="store_true", help="plot on the screen")
        add("--nowait", action="store_true", help="do not wait for the plot to be closed")
        add(
            "--hardcopy",
            default="none",
            metavar="FORMAT",
            help="write the plot in this format (pdf, png ...)",
        )
        add("--title", default=None, help="title of the plot")
        add("--apply", action="store_true", help="write the corrected MUSE image")
        add(
            "--resample",
            action="store_true",
            help="move the pixels of the corrected image instead of its WCS",
        )
        add(
            "--method",
            default=None,
            choices=("fourier", "image"),
            help="engine: fourier (as ever, the default) or image (default of the recipe muse_imphot)",
        )


def extract_function_args(
    options: argparse.Namespace | Mapping[str, Any], function: Callable[..., Any]
) -> dict[str, Any]:
    """The options that are arguments of a function.

    Parameters
    ----------
    options : argparse.Namespace or dict
    function : callable

    Returns
    -------
    dict
    """
    values = vars(options) if isinstance(options, argparse.Namespace) else dict(options)
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = {name for name, p in inspect.signature(function).parameters.items() if p.kind in kinds}
    return {name: value for name, value in values.items() if name in names}


def _say(text: object) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _guarded(work: Callable[[], None]) -> None:
    """Run a script; errors of the user end it with one line and status 1."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    try:
        work()
    except UserError as err:
        _say(err)
        sys.exit(1)
    except WorkerError as err:
        _say(err.message)
        sys.stderr.write(f"{err.traceback}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        _say("Interrupted")
        sys.exit(130)


def fit_photometry_main() -> None:
    """The script fit_photometry: fit MUSE images against an HST image and print a table."""
    _guarded(_fit_photometry)


def _fit_photometry() -> None:
    from imphot import fitting, many_images

    parser = ImphotArgumentParser(
        FIT_BOTH,
        prog="fit_photometry",
        description="Fit the PSF, offset, flux scale and background of MUSE images.",
    )
    parser.add_argument("--verbose", action="store_true", help="print the full report of each fit")
    parser.add_argument("--nworker", type=int, default=0, help="processes: 0 one per CPU, -n all CPUs but n")
    parser.add_argument("hst_image", help="HST image on the MUSE pixels (as observed for --method image)")
    parser.add_argument("muse_image", nargs="+", help="MUSE images")
    options = parser.parse_args()
    star = options.star is not None
    function: Callable[..., Any] = fitting.fit_image_photometry
    if star:
        function = fitting.fit_image_and_star_photometry
    kwargs = extract_function_args(options, function)
    with contextlib.ExitStack() as stack:
        if len(options.muse_image) == 1 or options.display:
            results: Iterable[Any] = (
                function(options.hst_image, name, **kwargs) for name in options.muse_image
            )
        else:
            pool = many_images.FitImageAndStarPhotometryMP if star else many_images.FitImagePhotometryMP
            results = stack.enter_context(
                pool(options.hst_image, options.muse_image, kwargs, options.nworker)
            )
        _print_results(results, options.verbose)


def _print_results(results: Iterable[Any], verbose: bool) -> None:
    header = True
    for result in results:
        for one in result if isinstance(result, tuple) else (result,):
            if verbose:
                _say(one)
            _say(one.summary(header=header))
            header = False


def regrid_hst_to_muse_main() -> None:
    """The script regrid_hst_to_muse: resample HST images to the pixels of a MUSE image."""
    _guarded(_regrid_hst_to_muse)


def _regrid_hst_to_muse() -> None:
    from imphot.hst.filters import filter_of
    from imphot.hst.regridding import regrid_hst_like_muse, rescale_hst_like_muse
    from imphot.images.opening import as_sky_image

    parser = argparse.ArgumentParser(
        prog="regrid_hst_to_muse", description="Resample HST images to the pixels of a MUSE image."
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument(
        "--field", default=None, help="name of the field, used in the names of the files written"
    )
    parser.add_argument("muse_image", help="MUSE image or cube")
    parser.add_argument("hst_image", nargs="+", help="HST images")
    options = parser.parse_args()
    muse = as_sky_image(options.muse_image, "MUSE", cube_ok=True)
    field = options.field or Path(options.muse_image).name.replace(".fits", "")
    target = re.sub(r"[/\s]", "_", field)
    for name in options.hst_image:
        if not options.quiet:
            _say(f"Reading HST file: {name}")
        hst = as_sky_image(name, "HST", around=muse)
        label = re.sub(r"[^A-Za-z0-9_.+-]", "_", filter_of(hst))
        output = f"hst_{label}_for_{target}.fits"
        done = regrid_hst_like_muse(rescale_hst_like_muse(hst, muse, inplace=False), muse, inplace=False)
        done.var = None
        done.write(output)
        if not options.quiet:
            _say(f"Wrote {output}")


def make_wideband_image_main() -> None:
    """The script make_wideband_image: collapse cubes with a filter curve."""
    _guarded(_make_wideband_image)


def wideband_name(prefix: str, cube: str | Path) -> str:
    """Name of the image of a cube: prefix, and the cube's name with (data)cube replaced by image once."""

    def replace(match: re.Match[str]) -> str:
        return "IMAGE" if match.group(0)[0].isupper() else "image"

    return f"{prefix}_{re.sub(r'datacube|cube', replace, Path(cube).name, count=1, flags=re.IGNORECASE)}"


def _make_wideband_image() -> None:
    import numpy as np

    from imphot.hst.bandpass import bandpass_image

    parser = argparse.ArgumentParser(
        prog="make_wideband_image", description="Collapse MUSE cubes with a filter curve."
    )
    parser.add_argument(
        "--prefix", default=None, help="start of the names of the images (default: name of the curve)"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing")
    parser.add_argument(
        "--wave_units", default="angstrom", help="unit of the wavelengths of the curve (default: angstrom)"
    )
    parser.add_argument("--nprocess", type=int, default=0, help="threads: 0 one per CPU, -n all CPUs but n")
    parser.add_argument("filter_curve", help="text file with two columns: wavelength, throughput")
    parser.add_argument("cube", nargs="+", help="MUSE cubes")
    options = parser.parse_args()
    from astropy import units as u

    try:
        unit = u.Unit(options.wave_units)
        unit.to(u.Angstrom)
    except (ValueError, u.UnitConversionError) as err:
        raise UserError(f"Unknown unit of wavelength ({options.wave_units})") from err
    try:
        curve = np.loadtxt(options.filter_curve, comments="#", usecols=(0, 1), unpack=True, ndmin=2)
    except (OSError, ValueError) as err:
        raise UserError(f"Error reading filter curve {options.filter_curve} ({err})") from err
    prefix = options.prefix or Path(options.filter_curve).name.split(".", 1)[0]
    for name in options.cube:
        if not options.quiet:
            _say(f"Reading cube: {name}")
        image = bandpass_image(name, curve[0], curve[1], unit_wave=unit, nprocess=options.nprocess)
        output = wideband_name(prefix, name)
        image.write(output, dq=True)
        if not options.quiet:
            _say(f"Wrote {output}")
