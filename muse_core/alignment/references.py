# SPDX-License-Identifier: BSD-3-Clause
"""A reference that is no exposure: a deep image with world coordinates, or a catalogue of sky positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.alignment.arrays import Flags, Floats
from muse_core.alignment.images.checks import inspect_field, same_side
from muse_core.alignment.images.field import IMAGE_BYTES, FieldInfo
from muse_core.alignment.images.opening import first_line, read_pixels
from muse_core.alignment.sources.detection import make_kernel
from muse_core.alignment.sources.find import as_source_list
from muse_core.alignment.sources.source_list import SourceList
from muse_core.alignment.sources.threshold_search import DetectionLimits, detect_sources
from muse_core.framework.context import RunContext
from muse_core.framework.defects import Defects
from muse_core.framework.errors import InputError
from muse_core.framework.fits_file import open_fits
from muse_core.framework.frames import Frame, Frames
from muse_core.framework.input_files import check_regular
from muse_core.framework.spec import ParamValues

if TYPE_CHECKING:
    from astropy.table import Table

IMAGE, CATALOGUE = "REFERENCE_IMAGE", "REFERENCE_CATALOG"
MOST_SOURCES = 300  # of a reference, the brightest ones near the fields
MOST_PEAKS = 20000
YEAR = 365.25
RA_NAMES = ("RA", "RAJ2000", "RA_ICRS", "RA_DEG", "ALPHA_J2000", "ALPHAWIN_J2000")
DEC_NAMES = ("DEC", "DEJ2000", "DEC_ICRS", "DE_ICRS", "DEC_DEG", "DECJ2000", "DELTA_J2000", "DELTAWIN_J2000")
MAGNITUDES = ("PHOT_G_MEAN_MAG", "GMAG", "MAG_AUTO", "MAG", "RMAG", "IMAG")
FLUXES = ("PHOT_G_MEAN_FLUX", "FLUX_AUTO", "FLUX")
EPOCHS = ("REF_EPOCH", "EPOCH")
NO_UNIT = "of a catalogue"
"""Fluxes of a catalogue have nothing to do with those of images, whatever these say of theirs."""
MOTIONS_RA, MOTIONS_DEC = ("PMRA", "PM_RA"), ("PMDEC", "PMDE", "PM_DEC")
EARLIEST, LATEST = 1800.0, 2200.0
LARGEST_TEXT = 1 << 28
"""Bytes of a table in text form at most: some millions of sources."""
TEXT_TABLES = (".csv", ".ecsv", ".vot", ".xml", ".votable", ".dat", ".txt")


@dataclass(frozen=True)
class Reference:
    """What the exposures are aligned to: a field like theirs, and its sources."""

    info: FieldInfo
    sources: SourceList


def load_reference(
    frames: Frames, fields: Sequence[FieldInfo], p: ParamValues, ctx: RunContext
) -> Reference | None:
    """Read REFERENCE_IMAGE or REFERENCE_CATALOG; None without either.

    Faults go to the problems of the run.
    """
    image, catalogue = frames.first(IMAGE), frames.first(CATALOGUE)
    if not fields or (image is None and catalogue is None):
        return None
    if image is not None and catalogue is not None:
        ctx.problems.add(
            catalogue.path,
            f"input {CATALOGUE}",
            expected="one reference",
            found=f"the image {image.path}, too",
            remedy="Leave one of them out.",
        )
        return None
    try:
        if image is not None:
            return _from_image(image.path, fields, p, ctx)
        return None if catalogue is None else _from_catalogue(catalogue.path, fields, p, ctx)
    except InputError as error:
        ctx.problems.extend(error)
        return None


def check_number(images: Sequence[Frame], reference: Reference | None, ctx: RunContext) -> None:
    """Ask for two exposures, or one and a reference; raise all that was found wrong with the inputs."""
    if len(images) < 2 and reference is None:
        ctx.problems.add(
            "",
            "input IMAGE_FOV",
            expected="at least 2 frames with this tag, or one and a reference",
            found=f"{len(images)}",
            remedy="Check the tags in the set-of-frames file.",
        )
    ctx.problems.raise_if_any()


def reference_frames(frames: Frames) -> tuple[Frame, ...]:
    """Frames of the reference, which the products name."""
    return (*frames[IMAGE][:1], *frames[CATALOGUE][:1])


def _from_image(path: Path, fields: Sequence[FieldInfo], p: ParamValues, ctx: RunContext) -> Reference | None:
    info = inspect_field(path, need_exptime=False, need_date=False, problems=ctx.problems)
    if info is None:
        return None
    info = same_side(info, fields[0].wcs.crval[0])
    pixels = info.shape[0] * info.shape[1]
    if pixels * IMAGE_BYTES > ctx.memory_bytes:
        raise InputError(
            path, f"image of {info.shape[1]} x {info.shape[0]} pixels",
            expected=f"at most {ctx.memory_bytes / IMAGE_BYTES:.3g} pixels for this memory",
            found=f"{pixels:.3g}", remedy="Give more memory, or cut the image to the field.",
        )  # fmt: skip
    data, bad = read_pixels(info)
    scale = min(1.0, fields[0].pixel_arcsec / info.pixel_arcsec)  # larger pixels: fewer to a star
    kernel = make_kernel(max(0.5, p.fwhm * scale))
    box = 2 * kernel.half + 2
    if min(info.shape) < box or bad.all() or np.ptp(data[~bad]) == 0:
        raise InputError(
            path, "pixels of the image", expected=f"an image of the sky of {box} pixels or more",
            found=f"{info.shape[1]} x {info.shape[0]} pixels of which {np.count_nonzero(~bad)} are good",
        )  # fmt: skip
    limits = replace(
        DetectionLimits.from_parameters(p), threshold=1e-300, iterations=1, srcmin=1, srcmax=MOST_PEAKS
    )
    result = detect_sources(data, bad, kernel, limits, search_into_noise=False)
    if not len(result.sources):
        raise InputError(
            path,
            "sources",
            expected="at least one in the image",
            found="none",
            remedy="Check the image, and fwhm, sharpmin, sharpmax, roundmin, roundmax.",
        )
    everything = np.ones(len(result.sources), dtype=bool)
    found = as_source_list(info, kernel, result, everything, data, bad, Defects())
    near = _near(fields, found.ra, found.dec, p.rsearch[0]) & _brightest(fields, found, p.rsearch[0])
    if not near.any():
        raise _nothing_near(path, len(found))
    return Reference(info, replace(found.take(near), origin="reference"))


def _from_catalogue(path: Path, fields: Sequence[FieldInfo], p: ParamValues, ctx: RunContext) -> Reference:
    table = _read_table(path)
    ra, dec, flux = _positions(path, table, float(np.mean([info.mjd for info in fields])), ctx)
    ra = ra + 360.0 * np.round((fields[0].wcs.crval[0] - ra) / 360.0)
    x, y = fields[0].wcs.pixel(ra, dec)
    found = SourceList.of_positions(x - 1.0, y - 1.0, ra, dec, "reference")
    found = replace(found, flux=flux)
    near = _near(fields, ra, dec, p.rsearch[0]) & np.isfinite(x)
    if not near.any():
        raise _nothing_near(path, len(found))
    found = found.take(near)
    found = found.take(_brightest(fields, found, p.rsearch[0]))
    return Reference(replace(fields[0], path=path, name=path.name, unit=NO_UNIT), found)


def _nothing_near(path: Path, count: int) -> InputError:
    return InputError(
        path,
        "positions of the sources",
        expected="sources in the fields of the exposures, or near them (rsearch)",
        found=f"none among {count}",
        remedy="Give a reference of this target, with coordinates in degrees (ICRS).",
    )


def _near(fields: Sequence[FieldInfo], ra: Floats, dec: Floats, radius_arcsec: float) -> Flags:
    """Tell which positions lie in one of the fields or within the search radius of it."""
    near = np.zeros(ra.size, dtype=bool)
    for info in fields:
        x, y = info.wcs.pixel(ra, dec)
        margin = radius_arcsec / info.pixel_arcsec
        ny, nx = info.shape
        with np.errstate(invalid="ignore"):
            near |= (x > -margin) & (x < nx + margin) & (y > -margin) & (y < ny + margin)
    return near


def _brightest(fields: Sequence[FieldInfo], found: SourceList, radius_arcsec: float) -> Flags:
    """Tell which sources are the brightest ones near the fields."""
    near = np.flatnonzero(_near(fields, found.ra, found.dec, radius_arcsec))
    brightness = np.where(np.isfinite(found.flux[near]), found.flux[near], -np.inf)
    chosen = np.zeros(len(found), dtype=bool)
    chosen[near[np.argsort(-brightness, kind="stable")[:MOST_SOURCES]]] = True
    return chosen


def _read_table(path: Path) -> Table:
    from astropy.table import Table

    suffix = path.suffix.lower()
    if suffix in TEXT_TABLES:
        import warnings

        check_regular(path)
        if path.stat().st_size > LARGEST_TEXT:
            raise InputError(
                path, "file", expected=f"at most {LARGEST_TEXT >> 20} MB of text",
                found=f"{path.stat().st_size >> 20} MB", remedy="Cut the catalogue to the field.",
            )  # fmt: skip

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                # what the two endings mean is not agreed on; the reader finds out
                return Table.read(path, format="ascii" if suffix in (".dat", ".txt") else None)
            except MemoryError:
                raise  # told as what it is
            except Exception as error:  # noqa: BLE001  the readers raise many kinds
                found = first_line(error)
                raise InputError(path, "file", expected="a readable table", found=found) from error
    with open_fits(path) as hdus:
        try:
            for hdu in hdus[1:]:
                if hdu.header.get("XTENSION", "").strip() in ("BINTABLE", "TABLE"):
                    return Table.read(hdu)
        except MemoryError:
            raise
        except Exception as error:  # noqa: BLE001  astropy raises many kinds for broken tables
            found = first_line(error)
            raise InputError(path, "file", expected="a readable table", found=found) from error
    raise InputError(path, "extension 1", expected="a table of positions", found="no table in the file")


def _positions(path: Path, table: Table, mjd: float, ctx: RunContext) -> tuple[Floats, Floats, Floats]:
    """Right ascension and declination in degrees at a date, and a flux (NaN: unknown); usable rows only."""
    columns = {name.upper(): table[name] for name in reversed(table.colnames)}
    ra = _angle(path, columns, RA_NAMES, hours=True)
    dec = _angle(path, columns, DEC_NAMES, hours=False)
    ra, dec = _moved(path, columns, ra, dec, mjd, ctx)
    flux, magnitude = _first(columns, FLUXES), _first(columns, MAGNITUDES)
    brightness = np.full(ra.size, np.nan)
    if flux is not None:
        brightness = _numbers(path, flux)
    elif magnitude is not None:
        brightness = 10.0 ** (-0.4 * (_numbers(path, magnitude) - 25.0))
    if not ra.ndim == dec.ndim == brightness.ndim == 1:
        raise InputError(path, "columns of the position", expected="one number in each row", found="several")
    usable = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90.0)
    if not usable.any():
        raise InputError(path, "columns of the position", expected="positions in degrees", found="none")
    return ra[usable], dec[usable], brightness[usable]


def _moved(
    path: Path, columns: dict[str, Any], ra: Floats, dec: Floats, mjd: float, ctx: RunContext
) -> tuple[Floats, Floats]:
    """Positions at a date, by proper motions with cos DEC, as Gaia has them; a warning where they are not."""
    epoch, motions = _first(columns, EPOCHS), [_first(columns, names) for names in (MOTIONS_RA, MOTIONS_DEC)]
    if motions[0] is None or motions[1] is None:
        return ra, dec
    if epoch is None:
        ctx.log.warning(
            "%s: proper motions are not applied, for there is no column of the epoch (%s)",
            path,
            ", ".join(EPOCHS),
        )
        return ra, dec
    year = _numbers(path, epoch)
    known = np.isfinite(year)
    wrong = known & ~((year >= EARLIEST) & (year <= LATEST))
    if wrong.any():
        raise InputError(
            path, f"column {epoch.name}", expected=f"years of {EARLIEST:.0f} to {LATEST:.0f}",
            found=f"{year[wrong][0]:g}", remedy="Give the epoch of the positions as a Julian year.",
        )  # fmt: skip
    years = np.where(known, 2000.0 + (mjd - 51544.5) / YEAR - year, 0.0)
    along_ra, along_dec = (np.nan_to_num(_numbers(path, m) * _per_year(path, m)) for m in motions)
    return ra + along_ra * years / np.cos(np.radians(dec)), dec + along_dec * years


def _per_year(path: Path, column: Any) -> float:
    """Factor that makes degrees a year of a proper motion; mas a year where no unit is said."""
    from astropy import units

    text = str(column.unit or "mas/yr").strip()
    try:
        return float(units.Unit(text).to(units.deg / units.yr))
    except (ValueError, TypeError, units.UnitsError) as error:
        raise InputError(
            path,
            f"unit of the column {column.name}",
            expected="an angle by a time, as mas/yr",
            found=repr(text),
        ) from error


def _first(columns: dict[str, Any], names: Sequence[str]) -> Any:
    return next((columns[name] for name in names if name in columns), None)


def _numbers(path: Path, column: Any) -> Floats:
    try:
        return np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    except (TypeError, ValueError) as error:
        found = f"{column.dtype}"
        raise InputError(path, f"column {column.name}", expected="numbers", found=found) from error


def _angle(path: Path, columns: dict[str, Any], names: Sequence[str], *, hours: bool) -> Floats:
    """Return a coordinate in degrees; the unit of the column counts."""
    column = _first(columns, names)
    if column is None:
        raise InputError(
            path,
            "columns of the position",
            expected=f"one of {', '.join(names)}",
            found=", ".join(columns) or "no columns",
            remedy="Rename the columns.",
        )
    factors = {"": 1.0, "deg": 1.0, "rad": 180.0 / np.pi, "arcsec": 1.0 / 3600.0, "arcmin": 1.0 / 60.0}
    if hours:
        factors |= {"hourangle": 15.0, "h": 15.0, "hour": 15.0}
    unit = str(column.unit or "").strip()
    if unit.lower() not in factors:
        raise InputError(
            path,
            f"unit of the column {column.name}",
            expected=", ".join(word for word in factors if word),
            found=repr(unit),
        )
    return _numbers(path, column) * factors[unit.lower()]
