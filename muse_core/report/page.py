# SPDX-License-Identifier: BSD-3-Clause
"""Quality pages: a verdict, what needs a look, pictures and tables, and what the run was, in one HTML file.

A recipe describes its page (`Page`); the template `templates/page.html` gives all pages one face. Pages need
no network, adapt to light and dark, and can be printed. All text is escaped by the template.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from muse_core.framework.record import RunRecord
from muse_core.report.usual import usual_range

if TYPE_CHECKING:
    import jinja2
    from matplotlib.figure import Figure

DPI = 110
INK, BLUE, ORANGE, GREY = "#1d2229", "#2a6fb0", "#d9731a", "#9aa3af"
"""Colours of pictures; told apart by all eyes, and in grey."""


class Link(str):
    """A cell of a table that leads to a file beside the page, or below it."""

    target: str

    def __new__(cls, text: str, target: str) -> Link:
        """Make it of its text and the path of the file, relative to the page."""
        link = super().__new__(cls, text)
        link.target = target
        return link


@dataclass(frozen=True)
class Table:
    """Rows of cells.

    Parameters
    ----------
    head : names of the columns
    rows : cells as text
    marked : numbers of the rows that need a look
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    marked: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Picture:
    """An embedded picture.

    Parameters
    ----------
    source : str
        data URI
    text : str
        what it shows, for those who cannot see it
    caption : str
    hover : str
        JSON for the script of the page, which tells the values under the pointer; empty: none
    half : bool
        two of them stand side by side where there is room
    """

    source: str
    text: str
    caption: str = ""
    hover: str = ""
    half: bool = False


@dataclass(frozen=True)
class Section:
    """A part of a page with a title."""

    title: str
    parts: tuple[Picture | Table | str, ...]


@dataclass
class Page:
    """A quality page.

    Parameters
    ----------
    verdict : str
        one sentence; empty: whether anything needs a look
    looks : list of str
        what needs a look; the page is marked if there is anything
    facts : list of (name, text)
        target, mode, date and the like
    sections : list of Section
    footer : str
        last line; empty: which recipe it is of
    """

    verdict: str
    looks: list[str] = field(default_factory=list)
    facts: list[tuple[str, str]] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    footer: str = ""

    def html(self, record: RunRecord) -> str:
        """Return the page as one self-contained HTML text."""
        looks = [*self.looks, *(text for text in record.warnings if text not in self.looks)]
        quality = [(key, shown(value), *usual_range(key, value)) for key, value in record.quality.items()]
        for key, value, _, unusual in quality:
            if unusual:
                looks.append(f"{key} = {value} is outside of its usual range")
        return _template().render(
            page=self,
            verdict=self.verdict or _verdict(len(looks)),
            record=record,
            looks=looks,
            quality=quality,
            script=_text("page.js"),
        )


def _verdict(looks: int) -> str:
    if not looks:
        return "Nothing stands out."
    return "One point needs a look." if looks == 1 else f"{looks} points need a look."


def shown(value: object) -> str:
    """Return a value as a short text.

    >>> shown(0.123456789), shown(True), shown("a")
    ('0.123457', 'yes', 'a')
    """
    if isinstance(value, Link):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: Any
) -> tuple[Figure, Any]:
    """Return a figure [inch] with room for its labels, and its axes (an array if there are several)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def picture(
    figure: Figure,
    text: str,
    caption: str = "",
    *,
    vector: bool = False,
    hover: dict[str, Any] | None = None,
    half: bool = False,
) -> Picture:
    """Embed a figure.

    Parameters
    ----------
    vector : as SVG, for drawings with few elements; else PNG
    hover : see `hover_image` and `hover_lines`
    half : beside another one, where there is room (draw it some 5 inches wide)
    """
    stream = io.BytesIO()
    if vector:
        figure.savefig(stream, format="svg", metadata={"Date": None})
        width, height = figure.get_size_inches() * DPI  # as large as the others on the page
        size = rf'width="{width:.0f}" height="{height:.0f}" viewBox'.encode()
        stream = io.BytesIO(
            re.sub(rb'width="[\d.]+pt" height="[\d.]+pt" viewBox', size, stream.getvalue(), count=1)
        )
        kind = "svg+xml"
    else:
        figure.savefig(stream, format="png", dpi=DPI)
        kind = "png"
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    script = json.dumps(hover) if hover else ""
    return Picture(f"data:image/{kind};base64,{data}", text, caption, script, half)


def hover_image(figure: Figure, axes: Any, image: npt.NDArray, name: str, most: int = 250) -> dict[str, Any]:
    """Return what the script needs to tell pixel and value of an image under the pointer.

    Parameters
    ----------
    image : float[ny, nx]
        shown with pixel centres at whole numbers
    name : of the value
    most : pixels along an axis that are kept
    """
    figure.canvas.draw()
    step = max(1, -(-max(image.shape) // most))
    kept = np.ascontiguousarray(image[::step, ::step], dtype="<f4")
    return {
        "kind": "image",
        "box": _box(axes),
        "x": list(axes.get_xlim()),
        "y": list(axes.get_ylim()),
        "shape": list(kept.shape),
        "step": step,
        "name": name,
        "data": base64.b64encode(kept.tobytes()).decode("ascii"),
    }


def hover_lines(
    figure: Figure,
    axes: Any,
    x: npt.NDArray,
    lines: dict[str, npt.NDArray],
    unit: str = "Å",
    most: int = 2000,
    first: str = "",
) -> dict[str, Any]:
    """Return what the script needs to tell the values of curves under the pointer.

    Parameters
    ----------
    x : float[n]
        ascending
    lines : dict of float[n]
    unit : of x
    most : points that are kept
    first : word before x
    """
    figure.canvas.draw()
    step = max(1, -(-x.size // most))
    return {
        "kind": "lines",
        "box": _box(axes),
        "x": list(axes.get_xlim()),
        "unit": unit,
        "first": first,
        "at": [round(float(v), 2) for v in x[::step]],
        "lines": {name: [_number(v) for v in values[::step]] for name, values in lines.items()},
    }


def _number(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def _box(axes: Any) -> list[float]:
    """Place of the axes in the picture: left, top, width, height as fractions."""
    place = axes.get_position()
    return [float(v) for v in (place.x0, 1.0 - place.y1, place.width, place.height)]


def table(head: Sequence[str], rows: Sequence[Sequence[object]], marked: Sequence[int] = ()) -> Table:
    """Return a table of anything that can be shown."""
    cells = tuple(tuple(shown(cell) for cell in row) for row in rows)
    return Table(tuple(head), cells, frozenset(marked))


@cache
def _template() -> jinja2.Template:
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.tests["picture"] = lambda part: isinstance(part, Picture)
    environment.tests["link"] = lambda cell: isinstance(cell, Link)
    environment.tests["table"] = lambda part: isinstance(part, Table)
    return environment.from_string(_text("page.html"))


@cache
def _text(name: str) -> str:
    return (files("muse_core.report") / "templates" / name).read_text(encoding="utf-8")
