# SPDX-License-Identifier: BSD-3-Clause
"""The fits of muse_imphot, several exposures at a time in worker processes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError, WorkerError
from imphot.fitting import fit_field, fit_one_star, on_muse_grid
from imphot.images.opening import as_sky_image
from imphot.images.sky_image import SkyImage
from imphot.options import FitOptions, OutputOptions
from imphot.plots import plot_image_fit
from imphot.results import FitPictures, FittedImagePhotometry
from muse_core.framework import RunContext
from muse_core.framework.team import Team
from muse_core.framework.workers import Call, CallIterator
from muse_core.photometry.exposures import Exposure, Fit
from muse_core.photometry.settings import Settings

__all__ = ["fit_exposures", "fit_one", "log_results"]


@dataclass
class Outcome:
    """What came out of one exposure."""

    fits: list[Fit]
    pictures: FitPictures | None = None
    plot: npt.NDArray[np.uint8] | None = None


def fit_exposures(exposures: list[Exposure], settings: Settings, nproc: int, ctx: RunContext) -> None:
    """Fit all exposures and write the results into them and into the log.

    nproc : worker processes; 0: as many as threads are allowed, negative: all cores but so many
    """
    ctx.problems.raise_if_any()
    if ctx.team.shares_memory:
        done = _outcomes(exposures, settings, nproc or ctx.threads)
    else:
        done = _outcomes_of_team(exposures, settings, ctx.team)
    for exposure, outcome in ctx.progress(done, "fitting", total=len(exposures)):
        exposure.fits, exposure.pictures, exposure.plot = outcome.fits, outcome.pictures, outcome.plot
        log_results(exposure, ctx.log)


def _outcomes_of_team(
    exposures: list[Exposure], settings: Settings, team: Team
) -> Iterator[tuple[Exposure, Outcome]]:
    """Exposures and outcomes in order, made elsewhere."""
    fitted = team.map(_Fit(settings), [_given(exposure) for exposure in exposures])
    for exposure, outcome in zip(exposures, fitted, strict=True):
        if isinstance(outcome, UserError):
            raise outcome.in_file(_files(exposure, settings))
        yield exposure, outcome


@dataclass(frozen=True)
class _Fit:
    """Makes all fits of an exposure, or says what is wrong with it."""

    settings: Settings

    def __call__(self, given: tuple[str, SkyImage | str]) -> Outcome | UserError:
        settings = self.settings
        try:
            return fit_one(*given, settings.method, settings.options, settings.pictures)
        except UserError as error:
            return error


def _given(exposure: Exposure) -> tuple[str, SkyImage | str]:
    """Return the HST file and the MUSE image or file of an exposure."""
    return str(exposure.reference.path if exposure.reference else ""), exposure.source


def _outcomes(
    exposures: list[Exposure], settings: Settings, nproc: int
) -> Iterator[tuple[Exposure, Outcome]]:
    """Exposures and outcomes in order: made here for a single one, else in worker processes."""
    arguments = [(*_given(exposure), settings.method, settings.options) for exposure in exposures]
    alone = len(exposures) == 1 or nproc == 1
    here = f"{__name__}:fit_one"
    calls: list[Call] = [] if alone else [(here, (*a, settings.pictures), {}) for a in arguments]
    with CallIterator(calls, nproc) as results:
        for exposure, given in zip(exposures, arguments, strict=True):
            try:
                outcome = fit_one(*given, settings.pictures) if alone else next(results)
            except UserError as err:
                raise err.in_file(_files(exposure, settings)) from err
            except WorkerError as err:
                raise type(err)(f"{exposure.frame.path.name}: {err.message}", err.traceback) from err
            yield exposure, outcome


def _files(exposure: Exposure, settings: Settings) -> str:
    """Name all files that take part in a fit: which of them is at fault, the fit cannot know."""
    others = [exposure.reference.name] if exposure.reference else []
    others += settings.names
    return exposure.frame.path.name + (f" (with {', '.join(others)})" if others else "")


def fit_one(hst: str, muse: SkyImage | str, method: str, options: FitOptions, want_pictures: bool) -> Outcome:
    """All fits of one exposure; runs in a worker process.

    Parameters
    ----------
    hst : HST file
    muse : MUSE image or file
    method : "image", "fourier", "star" or "both"
    options : see `Settings`
    want_pictures : return the pictures of the image fit, and a plot of it
    """
    field = as_sky_image(muse, "MUSE")
    outcome = Outcome([])
    if method != "star":
        fourier = options.method == "fourier"
        image = on_muse_grid(hst, field) if fourier else as_sky_image(hst, "HST", around=field)
        result, pictures = fit_field(image, field, options)
        outcome.fits.append(result)
        if want_pictures:
            outcome.pictures, outcome.plot = pictures, render_plot(result, field, pictures)
    if method in ("star", "both"):
        star, _ = fit_one_star(as_sky_image(hst, "HST", around=field), field, options)
        outcome.fits.append(star)
    return outcome


def render_plot(
    result: FittedImagePhotometry, muse: SkyImage, pictures: FitPictures, dpi: int = 100
) -> npt.NDArray[np.uint8]:
    """The plot of a fit as uint8[ny, nx, 3], first row at the bottom."""
    with _drawing:  # workers of a cluster may have several threads, matplotlib is for one
        return _drawn(result, muse, pictures, dpi)


_drawing = threading.Lock()


def _drawn(
    result: FittedImagePhotometry, muse: SkyImage, pictures: FitPictures, dpi: int
) -> npt.NDArray[np.uint8]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11.0, 7.5), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    plot_image_fit(result, muse, pictures, OutputOptions(fig=figure))
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[::-1, :, :3])


def log_results(exposure: Exposure, log: logging.Logger) -> None:
    """Write the results of one image into the log."""
    for fit in exposure.fits:
        numbers = (fit.fwhm, fit.beta, fit.scale, fit.bg, fit.dra, fit.ddec)
        log.info(
            "%s %s: fwhm %s arcsec, beta %s, scale %s, bg %s, offset RA %s DEC %s arcsec",
            exposure.name,
            fit.method,
            *(_with_error(number.value, number.stdev) for number in numbers),
        )


def _with_error(value: float, stdev: float | None) -> str:
    """Return a value and its error; one that was not fitted is held."""
    return f"{value:.4f} +- {stdev:.4f}" if stdev else f"{value:.4f} (held)"
