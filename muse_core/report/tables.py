# SPDX-License-Identifier: BSD-3-Clause
"""Sections of a quality page for small tables and images: offsets, photometry, previews."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from muse_core.framework.fits_file import open_fits
from muse_core.report.page import Section, hover_image, picture, table
from muse_core.report.preview import read_field_image, stretch

TABLES = ("OFFSET_LIST", "IMPHOT_TABLE")
IMAGES = ("PREVIEW_FOV", "IMAGE_FOV")
MOST = 60


def sections_of_tables(files: Mapping[str, list[Path]]) -> list[Section]:
    """Return a section for each small table and each image."""
    sections = [_table_section(path) for tag in TABLES for path in files.get(tag, ())]
    if "DATACUBE_FINAL" not in files:  # the page of a cube shows its own images
        sections += [_image_section(path) for tag in IMAGES for path in files.get(tag, ())]
    return sections


def _table_section(path: Path) -> Section:
    with open_fits(path) as hdus:
        rows = next(hdu.data for hdu in hdus[1:] if hdu.data is not None and hdu.columns is not None)
        names = list(rows.names)
        cells = [[_cell(row[name]) for name in names] for row in rows[:MOST]]
    offsets = [k for k, name in enumerate(names) if name in ("RA_OFFSET", "DEC_OFFSET")]
    for k in offsets:  # in the file they are degrees, which nobody can read
        names[k] += " [arcsec]"
        for row in cells:
            degrees = row[k]
            row[k] = f"{3600.0 * degrees:+.4f}" if isinstance(degrees, float) else degrees
    return Section(path.name, (table(names, cells),))


def _cell(value: object) -> object:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and np.isnan(value):
        return "-"
    return value.strip() if isinstance(value, str) else value


def _image_section(path: Path) -> Section:
    from matplotlib.figure import Figure

    field = read_field_image(path)
    ny, nx = field.values.shape
    width = 5.2 if ny > 0.55 * nx else 10.0
    figure = Figure(figsize=(width, min(8.0, max(2.0, width * ny / nx))), layout="constrained")
    axes = figure.subplots()
    axes.imshow(stretch(field.values), origin="lower", cmap="gray", interpolation="nearest")
    axes.set(xlabel="x [pixel]", ylabel="y [pixel]")
    hover = hover_image(figure, axes, field.values, "value")
    return Section(
        path.name,
        (picture(figure, f"image {field.name}", f"Filter {field.name}.", hover=hover, half=width < 6.0),),
    )
