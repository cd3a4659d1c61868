# SPDX-License-Identifier: BSD-3-Clause
"""The MUSE images of a run of muse_imphot, and the HST image that belongs to each."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError
from imphot.fitting import check_light, check_scale
from imphot.hst.bandpass import bandpass_image
from imphot.hst.filters import filter_of
from imphot.images.grids import image_grids_aligned
from imphot.images.opening import as_sky_image
from imphot.images.sky_image import SkyImage
from imphot.results import FitPictures, FittedImagePhotometry, FittedStarPhotometry
from muse_core.data.input_rules import rules_of
from muse_core.data.pixel_rules import check_pixels
from muse_core.data.rules import check
from muse_core.framework import Frame, Frames, InputError, RunContext
from muse_core.framework.fits_file import open_fits
from muse_core.photometry.settings import Curve

__all__ = ["Exposure", "Fit", "give_references", "load_exposures"]

PIXEL_BYTES = 60  # of an image with its variances and masks, model and residuals
LEAST_KNOWN = 0.3
"""Share of pixels with a number: a turned field fills half of its image at least."""

Fit = FittedImagePhotometry | FittedStarPhotometry


@dataclass
class Exposure:
    """One MUSE image to be fitted; `plot` is uint8[ny, nx, 3], first row at the bottom."""

    frame: Frame
    image: SkyImage
    name: str
    date: str
    mjd: float
    filter_name: str = ""
    from_cube: bool = False
    reference: Frame | None = None
    fits: list[Fit] = field(default_factory=list)
    pictures: FitPictures | None = None
    plot: npt.NDArray[np.uint8] | None = None

    @property
    def source(self) -> SkyImage | str:
        """What a worker is to read: the file, or the image collapsed from a cube."""
        return self.image if self.from_cube else str(self.frame.path)

    @property
    def best(self) -> Fit:
        """The image fit where there is one, else the star fit."""
        return self.fits[0]


def load_exposures(frames: Frames, curve: Curve | None, filter_name: str, ctx: RunContext) -> list[Exposure]:
    """Read the MUSE images and collapse the cubes; faults go to ctx.problems."""
    ctx.problems.raise_if_any()
    given = [*((f, False) for f in frames["IMAGE_FOV"]), *((f, True) for f in frames["DATACUBE_FINAL"])]
    out = []
    for frame, is_cube in ctx.progress(given, "reading MUSE images"):
        try:
            image = _collapsed(frame, curve) if is_cube else as_sky_image(str(frame.path), "MUSE")
            _check(image, ctx.memory_bytes)
        except UserError as err:
            ctx.problems.add(
                frame.path,
                f"{frame.tag} image",
                expected="an image with coordinates and data",
                found=str(err),
                remedy="Give an image made by muse_scipost."
                if not is_cube
                else "Give a cube made by muse_scipost, and a filter for its wavelengths"
                + "".join(f" ({filters.path})" for filters in frames["FILTER_LIST"])
                + ".",
            )
            continue
        image.filename = str(frame.path)
        known = 1.0 - float(image.mask.mean())
        if known < LEAST_KNOWN:
            text = "%s: %.0f per cent of the pixels are numbers: is the image damaged?"
            ctx.log.warning(text, frame.path, 100 * known)
        words = {key: image.header_value(key) for key in ("MJD-OBS", "DATE-OBS", "EXPTIME")}
        check(frame.path, rules_of(ctx.spec.name, frame.tag), words, ctx)
        check_pixels(frame.path, frame.tag, ctx)
        own = image.header_value("ESO DRS MUSE FILTER NAME", image.header_value("FILTER", ""))
        out.append(
            Exposure(
                frame,
                image,
                frame.path.name.replace(".fits", ""),
                str(image.header_value("DATE-OBS", "")),
                _number(image.header_value("MJD-OBS")),
                filter_name if is_cube else str(own),
                from_cube=is_cube,
            )
        )
    return out


def _collapsed(frame: Frame, curve: Curve | None) -> SkyImage:
    if curve is None:
        raise UserError("no filter curve")
    return as_sky_image(bandpass_image(str(frame.path), *curve, nprocess=1))


def _check(image: SkyImage, memory_bytes: int) -> None:
    if PIXEL_BYTES * image.values.size > memory_bytes:
        raise UserError(f"{image.shape[1]} x {image.shape[0]} pixels, too many for the memory")
    if image.wcs is None or not image.wcs.has_celestial:
        raise UserError("no celestial coordinates")
    if image.mask.all():
        raise UserError("all pixels are masked or not a number")
    check_scale(image, "MUSE")
    check_light(image, "MUSE")


def _number(value: object) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return float("nan")


def give_references(frames: Frames, exposures: list[Exposure], filter_name: str, ctx: RunContext) -> None:
    """Give each exposure its HST image; faults go to ctx.problems."""
    ready = frames.first("HST_IMAGE_REGRID")
    if ready:
        for exposure in exposures:
            _check_aligned(exposure, ready, ctx)
            exposure.reference = ready
        return
    references = _filters(frames["HST_IMAGE"], ctx)
    for exposure in exposures if references else ():
        exposure.reference = _choose(exposure, references, filter_name, ctx)


def _filters(frames: tuple[Frame, ...], ctx: RunContext) -> list[tuple[Frame, str]]:
    """Filter of each HST image, "" where its header does not say."""
    out = []
    for frame in frames:
        try:
            with open_fits(frame.path, item=frame.tag, expected="a FITS image", memmap=True) as hdus:
                headers = [hdu.header for hdu in hdus[:2]]
                found = SkyImage(np.zeros((1, 1)), primary_header=headers[0], data_header=headers[-1])
        except InputError as error:
            ctx.problems.extend(error)
            continue
        try:
            out.append((frame, filter_of(found)))
        except UserError:
            out.append((frame, ""))
    return out


def _check_aligned(exposure: Exposure, frame: Frame, ctx: RunContext) -> None:
    """An HST_IMAGE_REGRID must lie on the pixels of each MUSE image."""
    try:
        aligned = image_grids_aligned(as_sky_image(str(frame.path), "HST"), exposure.image)
        found = "other pixels"
    except UserError as err:
        aligned, found = False, str(err)
    if not aligned:
        ctx.problems.add(
            frame.path,
            frame.tag,
            expected=f"the pixels of {exposure.frame.path.name}",
            found=found,
            remedy="Bring the HST image to these pixels with regrid_hst_to_muse, or give it as HST_IMAGE.",
        )


def _choose(
    exposure: Exposure, references: list[tuple[Frame, str]], wanted: str, ctx: RunContext
) -> Frame | None:
    """The HST image whose filter fits; a single one is taken as it is, with a warning if it does not fit."""
    label = wanted or exposure.filter_name
    matching = [frame for frame, name in references if name and name.upper() in label.upper()]
    if matching:
        return matching[0]
    if len(references) == 1:
        frame, name = references[0]
        if label and name and label.lower() not in ("white", ""):
            ctx.log.warning(
                "%s was taken through %s, the reference %s through %s",
                exposure.name,
                label,
                frame.path.name,
                name,
            )
        return frame
    ctx.problems.add(
        exposure.frame.path,
        "filter",
        expected=f"one of {', '.join(n or 'none' for _, n in references)}",
        found=label or "none",
        remedy="Set the parameter filter to the filter of the reference to be used.",
    )
    return None
