# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_exp_align: verdict, fields with sources, histograms, residuals, preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.alignment.arrays import Flags, Pixels
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.images.opening import read_pixels
from muse_core.alignment.offsets.alignment import EXTERNAL, Alignment
from muse_core.alignment.offsets.confidence import Confidence
from muse_core.alignment.offsets.matching import SourceTable, matched_pairs
from muse_core.alignment.preview.mosaic import Mosaic
from muse_core.alignment.products import AlignedExposures
from muse_core.alignment.results import Results
from muse_core.alignment.sources.source_list import SourceList
from muse_core.report.page import Page, Picture, Section, Table, picture, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 12  # pictures of single exposures; the table has all of them
MAX_BINS = 600  # of a picture, whatever the recipe used


def align_page(found: AlignedExposures, radii: Sequence[float], nbins: int) -> Page:
    """Describe the page.

    Parameters
    ----------
    found : AlignedExposures
    radii : sequence of float
        Search radii in arcsec.
    nbins : int
    """
    fields, sources, results = found.fields, found.sources, found.results
    aligned, members = found.alignment, found.alignment.group.members
    confidence = results.confidence
    chosen = choose_exposures(confidence.trusted)
    chosen_members = [k for k, n in enumerate(members) if n in chosen]
    offsets: list[Picture | Table | str] = [offset_rows(fields, sources, results)]
    if len(chosen) < len(fields):
        offsets.append(f"Pictures of {len(chosen)} of {len(fields)} exposures, the suspicious ones first.")
    histogram = (
        f"Differences of all coordinates against another exposure, search radius {radii[0]:g} arcsec, "
        f"{nbins} x {nbins} bins. The cross marks the highest bin."
    )
    looks = [
        f"{fields[n].name}: {confidence.reasons[n]}" for n in range(len(fields)) if not confidence.trusted[n]
    ]
    sections = [
        Section("Offsets", tuple(offsets)),
        Section(
            "Fields and sources",
            (
                picture(
                    fields_figure(fields, sources, chosen),
                    "fields with their sources",
                    "Circles: sources found.",
                ),
            ),
        ),
        Section(
            "Histogram of the first iteration",
            (
                picture(
                    histogram_figure(aligned.table, chosen_members, members, radii[0], nbins),
                    "histograms of coordinate differences",
                    histogram,
                ),
            ),
        ),
        Section(
            "Residuals after the last iteration",
            (
                picture(
                    residual_figure(aligned, chosen_members),
                    "residual vectors of the matches",
                    "Arrows: from a source to its match, enlarged; the arrow below has the length it names.",
                ),
            ),
        ),
        Section("Preview", (picture(preview_figure(found.mosaic), "sum of the aligned exposures"),)),
    ]
    return Page(verdict_text(confidence), looks, [("exposures", str(len(fields)))], sections)


def choose_exposures(trusted: Flags) -> list[int]:
    """Exposures to show: those not trusted first, then the others, at most MAX_PANELS, in their order."""
    order = [int(n) for n in np.argsort(trusted, kind="stable")]
    return sorted(order[:MAX_PANELS])


def verdict_text(confidence: Confidence) -> str:
    """One sentence on the whole."""
    count = len(confidence.trusted)
    if confidence.untrusted == 0:
        return f"The offsets of all {count} exposures can be trusted."
    return f"The offsets of {confidence.untrusted} of {count} exposures cannot be trusted."


def _shown(value: float, form: str) -> str:
    return format(value, form) if np.isfinite(value) else "-"


def _with_error(value: float, error: float, digits: int) -> str:
    return f"{_shown(value, f'+.{digits}f')} ± {_shown(error, f'.{digits}f')}"


def offset_rows(fields: Sequence[FieldInfo], sources: Sequence[SourceList], results: Results) -> Table:
    """Table of the offsets with their errors."""
    confidence = results.confidence
    head = (
        "exposure", "sources", "matches", "RA offset [arcsec]", "DEC offset [arcsec]", "error [arcsec]",
        "scatter [arcsec]", "expected [arcsec]", "chance", "rotation [deg]", "scale - 1", "verdict",
    )  # fmt: skip
    rows = []
    for n, info in enumerate(fields):
        ra, dec = results.offsets[n] * 3600.0
        cells = (
            info.name,
            str(len(sources[n])),
            str(results.matches[n]),
            f"{ra:+.4f}",
            f"{dec:+.4f}",
            _shown(confidence.error_dec[n], ".4f"),
            _shown(confidence.scatter[n], ".4f"),
            _shown(confidence.centroid_error[n], ".4f"),
            _shown(confidence.chance[n], ".1e"),
            _with_error(confidence.turn_deg[n], confidence.turn_error_deg[n], 4),
            _with_error(confidence.stretch[n], confidence.stretch_error[n], 5),
            "sound" if confidence.trusted[n] else confidence.reasons[n],
        )
        rows.append(cells)
    return table(head, rows, [n for n in range(len(fields)) if not confidence.trusted[n]])


def _panels(count: int, size: float = 3.2) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure

    columns = min(4, max(1, count))
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(size * columns, size * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for spare in axes[count:]:
        spare.set_axis_off()
    return figure, list(axes)


def _show_image(axis: Axes, image: Pixels) -> None:
    step = max(1, max(image.shape) // 600)
    small = image[::step, ::step]
    good = small[np.isfinite(small)]
    low, high = np.percentile(good, (5, 99.5)) if good.size else (0.0, 1.0)
    extent = (-0.5, image.shape[1] - 0.5, -0.5, image.shape[0] - 0.5)
    axis.imshow(
        small, origin="lower", cmap="gray_r", vmin=low, vmax=max(high, low + 1e-12), extent=extent,
        interpolation="nearest",
    )  # fmt: skip


def fields_figure(
    fields: Sequence[FieldInfo], sources: Sequence[SourceList], chosen: Sequence[int]
) -> Figure:
    """Draw each field with a circle around each source."""
    figure, axes = _panels(len(chosen))
    for axis, n in zip(axes, chosen):
        data, bad = read_pixels(fields[n])
        _show_image(axis, np.where(bad, np.nan, data))
        axis.plot(sources[n].x, sources[n].y, "o", mfc="none", mec="tab:red", ms=7)
        axis.set_title(f"{n + 1}: {fields[n].name}", fontsize=8)
    return figure


def _partner(n: int) -> int:
    return 0 if n else 1


def _name(members: Sequence[int], n: int) -> str:
    return "reference" if members[n] == EXTERNAL else str(members[n] + 1)


def histogram_figure(
    table: SourceTable, chosen: Sequence[int], members: Sequence[int], radius_arcsec: float, nbins: int
) -> Figure:
    """Two-dimensional histograms of the coordinate differences against the first exposure."""
    figure, axes = _panels(len(chosen))
    if radius_arcsec <= 0:
        return figure
    radius = radius_arcsec / 3600.0
    nbins = min(nbins, MAX_BINS)
    width = 2.0 * radius / nbins
    for axis, n in zip(axes, chosen):
        m = _partner(n)
        mine, other = (slice(table.first[k], table.first[k + 1]) for k in (n, m))
        ra = (table.ra[mine][:, None] - table.ra[other][None]).ravel()
        dec = (table.dec[mine][:, None] - table.dec[other][None]).ravel()
        near = np.hypot(ra * np.cos(np.radians(np.median(table.dec[mine]))), dec) < radius
        cells = [np.trunc((v[near] + radius) / width) for v in (dec, ra)]
        inside = (cells[0] >= 0) & (cells[0] < nbins) & (cells[1] >= 0) & (cells[1] < nbins)
        counts = np.zeros((nbins, nbins), dtype=int)
        np.add.at(counts, (cells[0][inside].astype(int), cells[1][inside].astype(int)), 1)
        extent = (-radius_arcsec, radius_arcsec) * 2
        axis.imshow(counts, origin="lower", extent=extent, cmap="viridis", interpolation="nearest")
        if counts.any():
            iy, ix = divmod(int(counts.argmax()), nbins)
            place = [(-radius + (k + 0.5) * width) * 3600.0 for k in (ix, iy)]
            axis.plot(*place, "+", color="tab:red", ms=14)
            axis.set_title(f"{_name(members, n)} - {_name(members, m)}: peak of {counts.max()}", fontsize=8)
        axis.set_xlabel("RA difference [arcsec]", fontsize=7)
        axis.set_ylabel("DEC difference [arcsec]", fontsize=7)
    return figure


def residual_figure(aligned: Alignment, chosen: Sequence[int]) -> Figure:
    """Vectors from the sources of each exposure to their matches in the first one, enlarged."""
    table, solution, members = aligned.table, aligned.solution, aligned.group.members
    figure, axes = _panels(len(chosen))
    radius = solution.radius
    pairs: dict[Any, tuple[list[Any], list[Any]]] = {n: ([], []) for n in chosen}
    for i, j, a, b in matched_pairs(table, solution.shifts, radius):
        for n in chosen:
            m = _partner(n)
            if i == min(n, m):
                use = j == max(n, m)
                mine, other = (a[use], b[use]) if i == n else (b[use], a[use])
                pairs[n][0].extend(mine)
                pairs[n][1].extend(other)
    centre = np.median(table.ra), np.median(table.dec)
    cosdec = np.cos(np.radians(centre[1]))
    for axis, n in zip(axes, chosen):
        mine, other = (np.array(rows, dtype=np.int64) for rows in pairs[n])
        shift = solution.shifts[n] - solution.shifts[_partner(n)]
        x = (table.ra[mine] - centre[0]) * cosdec * 3600.0
        y = (table.dec[mine] - centre[1]) * 3600.0
        u = (table.ra[other] - table.ra[mine] + shift[0]) * cosdec * 3600.0
        v = (table.dec[other] - table.dec[mine] + shift[1]) * 3600.0
        length = np.hypot(u, v)
        typical = float(np.median(length)) if length.size else 0.0
        if length.size:
            factor = 3.0 / max(typical, 1e-6)
            arrows = axis.quiver(
                x, y, u * factor, v * factor, angles="xy", scale_units="xy", scale=1, color="tab:blue"
            )
            label = f"{typical * 1000:.0f} mas"
            axis.quiverkey(
                arrows, 0.14, -0.16, typical * factor, label, labelpos="E", fontproperties={"size": 7}
            )
            axis.plot(x, y, ".", color="k", ms=3)
        axis.set_title(
            f"{_name(members, n)} - {_name(members, _partner(n))}: median {typical * 1000:.1f} mas, "
            f"{length.size} pairs",
            fontsize=8,
        )
        axis.set_aspect("equal", adjustable="datalim")
        axis.invert_xaxis()  # east is left
        axis.set_xlabel("RA [arcsec]", fontsize=7)
        axis.set_ylabel("DEC [arcsec]", fontsize=7)
    return figure


def preview_figure(mosaic: Mosaic) -> Figure:
    """Draw the sum of all exposures."""
    figure, axes = _panels(1, 6.0)
    _show_image(axes[0], mosaic.preview())
    axes[0].set_title("sum of the aligned exposures", fontsize=8)
    return figure
