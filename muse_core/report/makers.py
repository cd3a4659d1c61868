# SPDX-License-Identifier: BSD-3-Clause
"""Which module describes the quality page of which products: one line for each kind of page.

A page that is made from the files of a run can be made after the run, too, and of the products of the C
recipe of the same name. A new page is a module with ``page_of_files``, and a line in `MAKERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from muse_core.framework.frames import ProductFrame

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from muse_core.report.page import Page

Files = Mapping[str, list[Path]]
"""Products by their tag (ESO PRO CATG)."""


@dataclass(frozen=True)
class Maker:
    """A kind of page.

    Parameters
    ----------
    tags : products that must all be there
    module : in `muse_core.report`, with ``page_of_files(files: Files) -> Page``
    without : products of which none may be there
    """

    tags: tuple[str, ...]
    module: str
    without: tuple[str, ...] = ()

    def fits(self, there: AbstractSet[str]) -> bool:
        """Tell whether the page is that of products with these tags."""
        return there >= set(self.tags) and there.isdisjoint(self.without)


MAKERS: tuple[Maker, ...] = (
    Maker(("DATACUBE_SKYFLAT", "TWILIGHT_CUBE"), "twilight"),
    Maker(("STD_RESPONSE",), "standard"),
    Maker(("ASTROMETRY_WCS",), "astrometry"),
    Maker(
        ("SKY_SPECTRUM", "SKY_LINES", "SKY_CONTINUUM"),
        "night_sky",
        without=("DATACUBE_FINAL", "PIXTABLE_REDUCED"),
    ),
    Maker(("WAVECAL_TABLE",), "wavecal"),
    Maker(("LSF_PROFILE",), "lsf"),
    *(Maker((tag,), "master_images") for tag in ("MASTER_FLAT", "MASTER_DARK", "MASTER_BIAS")),
)
"""Asked in this order; where none fits the page is that of cubes, pixel tables, images and small tables."""
ELSE = "cube"


def maker(tags: Iterable[str]) -> Callable[..., Page]:
    """Return the function that describes the page of products with these tags.

    It also takes ``shown``, what a run kept for its page in `RunContext.shown` (if it kept anything).
    """
    there = set(tags)
    name = next((one.module for one in MAKERS if one.fits(there)), ELSE)
    return lambda files, **more: import_module(f"muse_core.report.{name}").page_of_files(files, **more)


def by_tag(products: Iterable[ProductFrame]) -> dict[str, list[Path]]:
    """Sort the products of a run by their tag."""
    files: dict[str, list[Path]] = {}
    for product in products:
        files.setdefault(product.tag, []).append(product.path)
    return files


FACTS = (
    ("target", "OBJECT"), ("mode", "ESO INS MODE"), ("observed", "DATE-OBS"),
    ("exposure time [s]", "EXPTIME"), ("programme", "ESO OBS PROG ID"), ("observer", "OBSERVER"),
    ("principal investigator", "PI-COI"),
)  # fmt: skip


def facts(header: Header | None) -> list[tuple[str, str]]:
    """Return what the top of a page tells of the observation."""
    return [(name, str(header[key])) for name, key in FACTS if header is not None and key in header]


def not_done(header: Header | None) -> list[str]:
    """Return what the QC flags say was not done, as points that need a look."""
    return [
        f"{key.removeprefix('ESO ')}: no ({header.comments[key]})"
        for key in (header or ())
        if key.startswith("ESO QC") and header is not None and header[key] is False
    ]
