# SPDX-License-Identifier: BSD-3-Clause
"""Reading of ds9 region files: circles, ellipses and boxes in any sky system or in pixels.

Sizes are kept in degrees, or in pixels for the pixel systems; width and height of an ellipse are its
semi-axes, those of a box its full sides, as ds9 writes them.  What cannot be used is reported with its line
number through the logger ``imphot``, never dropped in silence.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imphot.errors import UserError
from muse_core.framework.errors import InputError
from muse_core.framework.text_files import read_text

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["Ds9Box", "Ds9Circle", "Ds9Ellipse", "Ds9Region", "Ds9Regions", "RegionError"]

_log = logging.getLogger("imphot")

EQUATORIAL = {"fk5": "fk5", "j2000": "fk5", "icrs": "icrs", "fk4": "fk4", "b1950": "fk4"}
SKY_SYSTEMS = {**EQUATORIAL, "galactic": "galactic", "ecliptic": "barycentricmeanecliptic"}
PIXEL_SYSTEMS = {"physical", "image"}
FOREIGN_SYSTEMS = {"linear", "amplifier", "detector", "wcs", "tile"}
SHAPES = {"circle": 3, "ellipse": 5, "box": 5}
OTHER_SHAPES = {
    "polygon",
    "annulus",
    "panda",
    "epanda",
    "bpanda",
    "line",
    "vector",
    "text",
    "point",
    "ruler",
    "compass",
    "projection",
    "segment",
    "composite",
    "cpanda",
    "pie",
}


class RegionError(UserError, ValueError):
    """A line of a region file that cannot be understood."""


class Ds9Region:
    """What all regions share.

    Parameters
    ----------
    shape : str
        "circle", "ellipse" or "box"
    exclude : bool
        true for a region whose pixels are not to be used
    system : str
        coordinate system, a ds9 word in lower case
    x, y : float
        centre [degrees, or pixels counted from one]
    """

    def __init__(self, shape: str, exclude: bool, system: str, x: float, y: float) -> None:
        self.shape = shape
        self.exclude = exclude
        self.system = system
        self.x = x
        self.y = y
        self.sizes_in_pixels = system in PIXEL_SYSTEMS

    def __str__(self) -> str:
        word = "exclude" if self.exclude else "include"
        return f"{word} {self.system} {self.shape} x: {self.x:.6f}  y: {self.y:.6f}"

    def centre(self, wcs: WCS) -> tuple[float, float]:
        """Centre in pixels counted from zero, as (y, x)."""
        if self.system in PIXEL_SYSTEMS:
            return self.y - 1.0, self.x - 1.0
        lon, lat = self.x, self.y
        frame = SKY_SYSTEMS[self.system]
        own = (wcs.wcs.radesys or "ICRS").lower()
        if not (frame in ("fk5", "icrs") and own in ("fk5", "icrs")):  # those two agree within 0.03 arcsec
            from astropy.coordinates import SkyCoord

            target = own if own in ("fk5", "icrs", "fk4") else "icrs"
            sky = SkyCoord(lon, lat, unit="deg", frame=frame).transform_to(target)
            lon, lat = sky.spherical.lon.deg, sky.spherical.lat.deg
        x, y = wcs.all_world2pix(lon, lat, 0)
        return float(y), float(x)


class Ds9Circle(Ds9Region):
    """A circle; radius in degrees or pixels."""

    def __init__(self, exclude: bool, system: str, x: float, y: float, radius: float) -> None:
        super().__init__("circle", exclude, system, x, y)
        self.radius = radius

    def __str__(self) -> str:
        return super().__str__() + f"  r: {self.radius:g}"


class _Oblong(Ds9Region):
    def __init__(
        self,
        shape: str,
        exclude: bool,
        system: str,
        x: float,
        y: float,
        width: float,
        height: float,
        pa: float,
    ) -> None:
        super().__init__(shape, exclude, system, x, y)
        self.width = width
        self.height = height
        self.pa = pa

    def __str__(self) -> str:
        return super().__str__() + f"  w: {self.width:g}  h: {self.height:g}  PA: {self.pa:g}"


class Ds9Ellipse(_Oblong):
    """An ellipse; width and height are semi-axes [degrees or pixels], pa its angle [degrees]."""

    def __init__(
        self, exclude: bool, system: str, x: float, y: float, width: float, height: float, pa: float
    ) -> None:
        super().__init__("ellipse", exclude, system, x, y, width, height, pa)


class Ds9Box(_Oblong):
    """A box; width and height are full sides [degrees or pixels], pa its angle [degrees]."""

    def __init__(
        self, exclude: bool, system: str, x: float, y: float, width: float, height: float, pa: float
    ) -> None:
        super().__init__("box", exclude, system, x, y, width, height, pa)


class Ds9Regions:
    """The usable regions of a ds9 region file, in order.

    Parameters
    ----------
    regions : str, Path, file object or sequence of str
        name of a region file, the text of one, an open file, or its lines; also a sequence of `Ds9Region`

    Examples
    --------
    >>> regions = Ds9Regions(['fk5; -circle(53.16, -27.79, 3")'])
    >>> print(regions, end="")
    exclude fk5 circle x: 53.160000  y: -27.790000  r: 0.000833333
    """

    def __init__(self, regions: str | os.PathLike[str] | Iterable[Any]) -> None:
        self.regions: list[Ds9Region] = []
        self.ignored: list[tuple[int, str, str]] = []
        self._system: str | None = "physical"
        for number, line in enumerate(_lines_of(regions), start=1):
            if isinstance(line, Ds9Region):
                self.regions.append(line)
            else:
                self._read_line(number, line)

    def __iter__(self) -> Iterator[Ds9Region]:
        return iter(self.regions)

    def __len__(self) -> int:
        return len(self.regions)

    def __getitem__(self, index: int) -> Ds9Region:
        return self.regions[index]

    def __str__(self) -> str:
        return "".join(f"{region}\n" for region in self.regions)

    def _ignore(self, number: int, text: str, why: str) -> None:
        self.ignored.append((number, text, why))
        _log.warning("region line %d ignored: %s (%s)", number, why, text)

    def _read_line(self, number: int, line: str) -> None:
        line = line.split("#", 1)[0]
        for field in line.split(";"):
            text = field.strip()
            found = re.match(r"[+\-]?\s*([A-Za-z0-9]*)", text)
            word = found.group(1).lower() if found else ""
            if not text or word == "global":
                continue
            if word in SKY_SYSTEMS or word in PIXEL_SYSTEMS:
                self._system = word
            elif word in FOREIGN_SYSTEMS:
                self._system = None
                self._ignore(number, text, f"the coordinate system {word} is not known here")
            elif word in SHAPES:
                if self._system is None:
                    self._ignore(number, text, "it is given in a coordinate system that is not known here")
                else:
                    self._read_shape(number, text, word, self._system)
            elif word in OTHER_SHAPES:
                self._ignore(
                    number, text, f"the shape {word} is not supported, only circle, ellipse and box are"
                )
            else:
                self._ignore(number, text, "neither a coordinate system nor a region")

    def _read_shape(self, number: int, text: str, shape: str, system: str) -> None:
        exclude = text.startswith("-")
        body = re.sub(r"^[+\-]?\s*[A-Za-z]+\s*", "", text).replace("||", "").strip()
        if body.startswith("("):
            body = body[1:].split(")", 1)[0]
        words = [w.strip() for w in body.split(",")] if "," in body else body.split()
        wanted = SHAPES[shape]
        if len(words) == wanted - 1 and wanted == 5:
            words.append("0")
        if len(words) != wanted:
            if len(words) > wanted:
                self._ignore(
                    number, text, f"a {shape} with {len(words)} numbers (nested shapes are not supported)"
                )
                return
            raise RegionError(
                f"Error on line {number} (a {shape} needs {wanted} numbers, found {len(words)}: {text})"
            )
        try:
            x = _coordinate(words[0], system, first=True)
            y = _coordinate(words[1], system, first=False)
            sizes = [_size(word, system) for word in words[2 : 4 if wanted == 5 else 3]]
            angle = float(words[4].rstrip("d°")) if wanted == 5 else 0.0
        except (ValueError, OverflowError) as err:
            raise RegionError(f"Error on line {number} ({err})") from err
        if not np.isfinite([x, y, angle, *(value for value, _ in sizes)]).all():
            raise RegionError(f"Error on line {number} (a number that is not finite: {text})")
        if any(not value > 0 for value, _ in sizes):
            raise RegionError(f"Error on line {number} (the size of a {shape} must be positive: {text})")
        if len({in_pixels for _, in_pixels in sizes}) > 1:
            raise RegionError(f"Error on line {number} (sizes in pixels and in angles are mixed: {text})")
        values = [value for value, _ in sizes]
        region: Ds9Region
        if shape == "circle":
            region = Ds9Circle(exclude, system, x, y, values[0])
        else:
            oblong = Ds9Ellipse if shape == "ellipse" else Ds9Box
            region = oblong(exclude, system, x, y, values[0], values[1], angle)
        region.sizes_in_pixels = sizes[0][1]
        self.regions.append(region)


def _lines_of(regions: Any) -> list[Any]:
    if isinstance(regions, Ds9Regions):
        return list(regions)
    if isinstance(regions, Ds9Region):
        return [regions]
    if isinstance(regions, str) and ("(" in regions or "\n" in regions):
        return regions.splitlines()
    if isinstance(regions, (str, os.PathLike)):
        try:
            return read_text(Path(regions), "replace").splitlines()
        except InputError as err:
            raise UserError(f"Region file error, {err}") from err
    return list(regions)


def _coordinate(text: str, system: str, first: bool) -> float:
    """A position: number or sexagesimal; hours for the first equatorial coordinate."""
    sexagesimal = re.fullmatch(
        r"([+\-]?)\s*(\d+)\s*[:hd\s]\s*(\d+)\s*[:m\s]\s*(\d+(?:\.\d*)?)\s*s?", text.strip()
    )
    if sexagesimal:
        sign, a, b, c = sexagesimal.groups()
        value = int(a) + int(b) / 60.0 + float(c) / 3600.0
        hours = "h" in text or (first and system in EQUATORIAL and "d" not in text)
        value *= 15.0 if hours else 1.0
        return -value if sign == "-" else value
    if text.endswith("r") and system in SKY_SYSTEMS:
        return float(np.degrees(float(text[:-1])))
    if text and text[-1] in "dpi" and (text[-1] == "d") == (system in SKY_SYSTEMS):
        text = text[:-1]
    return float(text)


def _size(text: str, system: str) -> tuple[float, bool]:
    """A size and whether it is in pixels: number, arcmin ('), arcsec ("), degrees (d) or pixels (p, i)."""
    scale = {"'": 1.0 / 60.0, '"': 1.0 / 3600.0, "d": 1.0, "r": 180.0 / np.pi}
    if text and text[-1] in scale:
        return float(text[:-1]) * scale[text[-1]], False
    if text and text[-1] in "pi":
        return float(text[:-1]), True
    return float(text), system in PIXEL_SYSTEMS
