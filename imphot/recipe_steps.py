# SPDX-License-Identifier: BSD-3-Clause
"""The steps of the recipe muse_imphot: read images, choose references, fit in worker processes."""

from __future__ import annotations

import contextlib
import io
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .bandpass import bandpass_image
from .ds9regions import Ds9Circle, Ds9Regions
from .errors import UserError, WorkerError
from .fitimage import fit_with_pictures
from .fitstar import fit_star_photometry
from .grids import image_grids_aligned
from .images import SkyImage, as_sky_image
from .workers import JobIterator

__all__ = [
    "Exposure",
    "check_aligned",
    "choose_reference",
    "collapse_cube",
    "fit_exposures",
    "fit_one",
    "load_exposures",
    "messages_to",
    "on_muse_grid",
    "png_bytes",
    "read_filter",
    "read_psf",
    "reference_filters",
    "region_list",
]


@dataclass
class Exposure:
    """One MUSE image to be fitted."""

    frame: Any
    image: SkyImage
    name: str
    date: str
    mjd: float
    filter_name: str = ""
    reference: Any = None
    fits: list = field(default_factory=list)
    pictures: dict | None = None
    from_cube: bool = False

    @property
    def source(self):
        """What a worker is to read: the file, or the image collapsed from a cube."""
        return self.image if self.from_cube else str(self.frame.path)

    @property
    def best(self):
        """The image fit where there is one, else the star fit."""
        return self.fits[0]


def read_filter(path, name):
    """Wavelengths [Angstrom] and throughputs of one filter of a FILTER_LIST."""
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            tables = {hdu.name.upper(): hdu.data for hdu in hdus if isinstance(hdu, fits.BinTableHDU)}
    except OSError as err:
        raise UserError(f"Error reading FILTER_LIST: {path} ({err})") from err
    known = ", ".join(sorted(tables)) or "none"
    if name.upper() not in tables:
        raise UserError(f"The filter {name!r} is not in {path}: choose one of {known}")
    table = tables[name.upper()]
    columns = {column.lower(): column for column in table.names}
    if not {"lambda", "throughput"} <= set(columns):
        raise UserError(f"The filter {name} of {path} lacks the columns lambda and throughput")
    return tuple(np.array(table[columns[c]], float) for c in ("lambda", "throughput"))


def collapse_cube(path, curve):
    """Image of a cube through a filter curve, as `SkyImage`."""
    wavelengths, throughputs = curve
    return bandpass_image(str(path), wavelengths, throughputs, nprocess=1)


def load_exposures(images, cubes, curve, filter_name, problems, progress=lambda items, _label: items):
    """Read the MUSE images and collapse the cubes; faults go to problems."""
    out = []
    for frame, is_cube in progress(
        [*((f, False) for f in images), *((f, True) for f in cubes)], "reading MUSE images"
    ):
        try:
            image = _load_image(frame, curve, is_cube)
        except UserError as err:
            problems.add(
                frame.path,
                f"{frame.tag} image",
                expected="an image with coordinates and data",
                found=str(err),
                remedy="Give an image made by muse_scipost.",
            )
            continue
        image.filename = str(frame.path)
        date, mjd = str(image.header_value("DATE-OBS", "")), image.header_value("MJD-OBS")
        own = (
            filter_name
            if is_cube
            else str(image.header_value("ESO DRS MUSE FILTER NAME", image.header_value("FILTER", "")))
        )
        out.append(
            Exposure(
                frame, image, frame.path.name.replace(".fits", ""), date, _float(mjd), own, from_cube=is_cube
            )
        )
    return out


def _load_image(frame, curve, is_cube):
    image = collapse_cube(frame.path, curve) if is_cube else as_sky_image(str(frame.path), "MUSE")
    if image.wcs is None or not image.wcs.has_celestial:
        raise UserError("no celestial coordinates")
    if image.mask.all():
        raise UserError("all pixels are masked or not a number")
    return image


def _float(value):
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def reference_filters(frames, problems):
    """Filter of each HST image: list of (frame, filter name or "")."""
    from astropy.io import fits

    from .hstfilters import filter_of

    out = []
    for frame in frames:
        try:
            with fits.open(frame.path) as hdus:
                headers = [hdu.header for hdu in hdus[:2]]
                found = SkyImage(np.zeros((1, 1)), primary_header=headers[0], data_header=headers[-1])
            try:
                name = filter_of(found)
            except UserError:
                name = ""
        except OSError as err:
            problems.add(frame.path, frame.tag, expected="a FITS image", found=str(err))
            continue
        out.append((frame, name))
    return out


def check_aligned(exposure, frame, problems):
    """An HST_IMAGE_REGRID must lie on the pixels of each MUSE image; faults go to problems."""
    try:
        aligned = image_grids_aligned(as_sky_image(str(frame.path), "HST"), exposure.image)
        found = "other pixels"
    except UserError as err:
        aligned, found = False, str(err)
    if not aligned:
        problems.add(
            frame.path,
            frame.tag,
            expected=f"the pixels of {exposure.frame.path.name}",
            found=found,
            remedy="Bring the HST image to these pixels with regrid_hst_to_muse, or give it as HST_IMAGE.",
        )
    return frame


def read_psf(frame):
    """Pixels of the first image of an HST_PSF file, or None without a file."""
    from astropy.io import fits

    if frame is None:
        return None
    try:
        with fits.open(frame.path) as hdus:
            for hdu in hdus:
                if hdu.is_image and hdu.header.get("NAXIS") == 2:
                    return hdu.data.astype(float)
    except OSError as err:
        raise UserError(f"Error reading {frame.tag}: {frame.path} ({err})") from err
    raise UserError(f"The {frame.tag} file {frame.path} holds no image of two dimensions")


def choose_reference(exposure, references, wanted, problems, warn):
    """The HST image whose filter fits the exposure; a single one is taken as it is, with a warning if it
    does not fit.
    """

    def fits_in(hst, muse):
        return bool(hst) and hst.upper() in muse.upper()

    label = wanted or exposure.filter_name
    matching = [frame for frame, name in references if fits_in(name, label)]
    if matching:
        return matching[0]
    if len(references) == 1:
        frame, name = references[0]
        if label and name and label.lower() not in ("white", ""):
            warn(
                "%s was taken through %s, the reference %s through %s",
                exposure.name,
                label,
                frame.path.name,
                name,
            )
        return frame
    problems.add(
        exposure.frame.path,
        "filter",
        expected=f"one of {', '.join(n or 'none' for _, n in references)}",
        found=label or "none",
        remedy="Set the parameter filter to the filter of the reference to be used.",
    )
    return None


def region_list(path, mode, star):
    """The regions of a run: those of a file, and the circle of the star for the modes star and notstar."""
    try:
        regions = list(Ds9Regions(str(path))) if path is not None else []
    except UserError as err:
        raise UserError(f"Region parsing error in {path}: {err}") from err
    if mode in ("star", "notstar") and star is not None:
        regions.append(Ds9Circle(mode == "notstar", "fk5", star[0], star[1], star[2] / 3600.0))
    return regions or None


def fit_one(hst, muse, method, image_options, star_options, want_pictures):
    """All fits of one exposure; runs in a worker process.

    Parameters
    ----------
    hst : str
        HST file
    muse : SkyImage or str
    method : {"image", "fourier", "star", "both"}
    image_options, star_options : dict
        keywords of `imphot.fit_image_photometry` and `imphot.fit_star_photometry`
    want_pictures : bool
        return the pictures of the image fit, and a plot of it as RGB array under "plot"

    Returns
    -------
    list of results, dict or None
    """
    muse = as_sky_image(muse, "MUSE")
    results, pictures = [], None
    if method != "star":
        engine = "fourier" if method == "fourier" else "image"
        image = on_muse_grid(hst, muse) if engine == "fourier" else hst
        result, _, pictures = fit_with_pictures(image, muse, method=engine, **image_options)
        results.append(result)
    if method in ("star", "both"):
        results.append(fit_star_photometry(hst, muse, method="image", **star_options))
    if not want_pictures or pictures is None:
        return results, None
    pictures["plot"] = render_plot(results[0], muse, pictures)
    return results, pictures


def on_muse_grid(hst, muse):
    """An HST file on the pixels and in the unit of a MUSE image."""
    from .regrid import regrid_hst_like_muse, rescale_hst_like_muse

    image = as_sky_image(hst, "HST", around=muse)
    if image_grids_aligned(image, muse):
        return image
    return regrid_hst_like_muse(rescale_hst_like_muse(image, muse, inplace=False), muse, inplace=False)


def render_plot(result, muse, pictures, dpi=100):
    """The plot of a fit as uint8 array (rows, columns, 3), first row at the bottom."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from .plots import plot_image_fit

    figure = Figure(figsize=(11.0, 7.5), dpi=dpi)
    canvas = FigureCanvasAgg(figure)
    plot_image_fit(result, muse, pictures, fig=figure)
    canvas.draw()
    return np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[::-1, :, :3])


def png_bytes(rgb):
    """A plot of `render_plot` as PNG file."""
    from matplotlib import image

    buffer = io.BytesIO()
    image.imsave(buffer, rgb[::-1], format="png")
    return buffer.getvalue()


@contextlib.contextmanager
def messages_to(log):
    """Send the messages of the library to the log of a recipe for a while, and nowhere else."""

    class Forward(logging.Handler):
        def emit(self, record):
            log.log(record.levelno, "%s", record.getMessage())

    library, handler = logging.getLogger("imphot"), Forward()
    propagate, library.propagate = library.propagate, False
    library.addHandler(handler)
    try:
        yield
    finally:
        library.removeHandler(handler)
        library.propagate = propagate


def fit_exposures(exposures, method, image_options, star_options, want_pictures, nproc):
    """Fit all exposures in worker processes; yields them in order with fits and pictures filled in."""
    calls: list[tuple] = [
        (
            "recipe_steps:fit_one",
            (str(e.reference.path), e.source, method, image_options, star_options, want_pictures),
            {},
        )
        for e in exposures
    ]
    alone = len(calls) == 1 or nproc == 1
    with JobIterator(() if alone else calls, nproc) as results:
        for exposure, (_, arguments, _) in zip(exposures, calls, strict=True):
            try:
                exposure.fits, exposure.pictures = fit_one(*arguments) if alone else next(results)
            except (UserError, WorkerError) as err:
                raise UserError(f"{exposure.frame.path.name}: {err.message}") from err
            yield exposure
