# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_exp_align: verdict, fields with sources, histograms, residuals, preview."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from muse_core.alignment.arrays import Flags, Floats, Pixels, Rows
from muse_core.alignment.images.field import FieldInfo
from muse_core.alignment.images.opening import read_pixels
from muse_core.alignment.offsets.alignment import EXTERNAL, Alignment, turned_wcs
from muse_core.alignment.offsets.confidence import Confidence
from muse_core.alignment.offsets.matching import SourceTable, matched_pairs
from muse_core.alignment.preview.mosaic import Mosaic
from muse_core.alignment.products import AlignedExposures
from muse_core.alignment.results import Results
from muse_core.alignment.sources.source_list import SourceList
from muse_core.report.page import BLUE, INK, ORANGE, Page, Picture, Section, Table, new_figure, picture, table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_PANELS = 12  # pictures of single exposures; the table has all of them
MAX_BINS = 600  # of a picture, whatever the recipe used
STAMPS = 6  # magnified sources of an exposure
STAMP_PIXELS = 17
MOST_STAMP_ROWS = 6


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
                    "Arrows: from a source to its match, enlarged; in the corner one of known length.",
                ),
            ),
        ),
    ]
    stamps = matches_figure(aligned, chosen_members)
    if stamps is not None:
        text = (
            f"The brightest matched sources of each exposure, {STAMP_PIXELS} pixels wide. Circle: where "
            "the source is; cross: where the other exposure puts it after the alignment."
        )
        sections.append(Section("Matches, magnified", (picture(stamps, "magnified matches", text),)))
    text = "Sum of the exposures whose offsets can be trusted."
    sections.append(
        Section("Preview", (picture(preview_figure(found), "sum of the aligned exposures", text, half=True),))
    )
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
        "", "exposure", "verdict", "sources", "matches", "RA [arcsec]", "DEC [arcsec]", "error", "scatter",
        "expected", "chance", "rotation [deg]", "scale - 1 [%]",
    )  # fmt: skip
    rows = []
    for n, info in enumerate(fields):
        ra, dec = results.offsets[n] * 3600.0
        cells = (
            str(n + 1),
            info.name,
            "sound" if confidence.trusted[n] else confidence.reasons[n],
            str(len(sources[n])),
            str(results.matches[n]),
            f"{ra:+.4f}",
            f"{dec:+.4f}",
            _shown(confidence.error_dec[n], ".4f"),
            _shown(confidence.scatter[n], ".4f"),
            _shown(confidence.centroid_error[n], ".4f"),
            _shown(confidence.chance[n], ".0e"),
            _with_error(confidence.turn_deg[n], confidence.turn_error_deg[n], 3),
            _with_error(100 * confidence.stretch[n], 100 * confidence.stretch_error[n], 3),
        )
        rows.append(cells)
    return table(head, rows, [n for n in range(len(fields)) if not confidence.trusted[n]])


def _panels(count: int) -> tuple[Figure, Sequence[Axes]]:
    from matplotlib.figure import Figure

    columns = min(3, max(1, count))
    rows = max(1, -(-count // columns))
    figure = Figure(figsize=(10.0 if columns > 1 else 5.2, 3.5 * rows), layout="constrained")
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
        axis.plot(sources[n].x, sources[n].y, "o", mfc="none", mec=ORANGE, ms=8)
        axis.set_title(f"{n + 1}: {fields[n].name}", fontsize=9)
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
            axis.plot(*place, "+", color="w", ms=14)
            axis.set_title(f"{_name(members, n)} - {_name(members, m)}: peak of {counts.max()}", fontsize=9)
        axis.set_xlabel("RA difference [arcsec]", fontsize=9)
        axis.set_ylabel("DEC difference [arcsec]", fontsize=9)
    return figure


def residual_figure(aligned: Alignment, chosen: Sequence[int]) -> Figure:
    """Vectors from the sources of each exposure to their matches in the first one, enlarged."""
    table, solution, members = aligned.table, aligned.solution, aligned.group.members
    figure, axes = _panels(len(chosen))
    pairs = _pairs(aligned, chosen)
    centre = np.median(table.ra), np.median(table.dec)
    cosdec = np.cos(np.radians(centre[1]))
    for axis, n in zip(axes, chosen):
        mine, other = pairs[n]
        shift = solution.shifts[n] - solution.shifts[_partner(n)]
        x = (table.ra[mine] - centre[0]) * cosdec * 3600.0
        y = (table.dec[mine] - centre[1]) * 3600.0
        u = (table.ra[other] - table.ra[mine] + shift[0]) * cosdec * 3600.0
        v = (table.dec[other] - table.dec[mine] + shift[1]) * 3600.0
        length = np.hypot(u, v)
        typical = float(np.median(length)) if length.size else 0.0
        if length.size:
            field = max(np.ptp(x), np.ptp(y), 1.0)
            factor = 0.13 * field / max(float(np.percentile(length, 90)), 1e-6)
            arrows = axis.quiver(
                x, y, u * factor, v * factor, angles="xy", scale_units="xy", scale=1, color=BLUE,
                width=0.008, zorder=3,
            )  # fmt: skip
            round_length = float(f"{typical:.1g}")
            label = f"{round_length * 1000:g} mas"
            axis.quiverkey(
                arrows, 0.06, 0.07, round_length * factor, label, labelpos="E", coordinates="axes",
                fontproperties={"size": 9},
            )  # fmt: skip
            axis.plot(x, y, "o", color=INK, ms=3, zorder=4)
            axis.margins(0.25)
        axis.set_title(
            f"{_name(members, n)} - {_name(members, _partner(n))}: median {typical * 1000:.1f} mas, "
            f"{length.size} pairs",
            fontsize=9,
        )
        axis.set_aspect("equal", adjustable="datalim")
        axis.invert_xaxis()  # east is left
        axis.set_xlabel("RA [arcsec]", fontsize=9)
        axis.set_ylabel("DEC [arcsec]", fontsize=9)
    return figure


def preview_figure(found: AlignedExposures) -> Figure:
    """Draw the sum of the exposures whose offsets can be trusted."""
    figure, axes = _panels(1)
    _show_image(axes[0], _trusted_sum(found))
    axes[0].set(xlabel="x [pixel]", ylabel="y [pixel]")
    return figure


def _trusted_sum(found: AlignedExposures) -> Pixels:
    results = found.results
    trusted = results.confidence.trusted
    if trusted.all() or not trusted.any():
        return found.mosaic.preview()
    mosaic = Mosaic(found.mosaic.grid)
    for n in (int(k) for k in np.flatnonzero(trusted & results.used)):
        ra, dec = results.offsets[n]
        data, bad = read_pixels(found.fields[n])
        mosaic.add(data, bad, turned_wcs(found.fields[n].wcs.moved(-ra, -dec), results.turn_deg[n]))
    return mosaic.preview()


def matches_figure(aligned: Alignment, chosen: Sequence[int]) -> Figure | None:
    """Draw magnified sources of each exposure, with where the other exposure puts them."""
    shown = [n for n in chosen if aligned.group.members[n] != EXTERNAL][:MOST_STAMP_ROWS]
    pairs = _pairs(aligned, shown)
    shown = [n for n in shown if pairs[n][0].size]
    if not shown:
        return None
    figure, axes = new_figure(10.0, 0.4 + 1.75 * len(shown), len(shown), STAMPS, squeeze=False)
    table, shifts = aligned.table, aligned.solution.shifts
    for row, n in zip(axes, shown):
        field, partner = aligned.fields[n], _partner(n)
        data, bad = read_pixels(field)
        image = np.where(bad, np.nan, data)
        mine, other = pairs[n]
        sources = aligned.sources[n]
        order = np.argsort(-np.nan_to_num(sources.flux[mine - table.first[n]]))[:STAMPS]
        matrix = _pixels_per_degree(table, n, sources)
        for axis in row:
            axis.set_axis_off()
        for axis, (own, its) in zip(row, zip(mine[order], other[order])):
            number = own - table.first[n]
            here = np.array([sources.x[number], sources.y[number]])
            away = [
                v[its] - v[own] - shifts[partner][k] + shifts[n][k]
                for k, v in enumerate((table.ra, table.dec))
            ]
            there = here + matrix @ away
            _show_stamp(axis, image, (float(here[0]), float(here[1])))
            axis.set_axis_on()
            axis.plot(*there, "+", color=ORANGE, ms=14, mew=1.5)
            axis.plot(*here, "o", mfc="none", mec=BLUE, ms=9, mew=1.2)
            half = STAMP_PIXELS / 2
            axis.set(xlim=(here[0] - half, here[0] + half), ylim=(here[1] - half, here[1] + half))
            axis.set(xticks=[], yticks=[])
        row[0].set_ylabel(f"{_name(aligned.group.members, n)}", rotation=0, labelpad=14)
    return figure


def _pixels_per_degree(table: SourceTable, n: int, sources: SourceList) -> Floats:
    """How positions of the table are pixels of exposure n (float64[2, 2]), from its own sources."""
    own = slice(table.first[n], table.first[n + 1])
    columns = np.column_stack([table.ra[own], table.dec[own]])
    columns -= columns.mean(axis=0)
    places = np.column_stack([sources.x, sources.y])
    return np.asarray(np.linalg.lstsq(columns, places - places.mean(axis=0), rcond=None)[0].T, np.float64)


def _show_stamp(axis: Axes, image: Pixels, place: tuple[float, float]) -> None:
    half = STAMP_PIXELS // 2
    x, y = (max(round(v) - half, 0) for v in place)
    part = image[y : y + STAMP_PIXELS, x : x + STAMP_PIXELS]
    extent = (x - 0.5, x + part.shape[1] - 0.5, y - 0.5, y + part.shape[0] - 0.5)
    good = part[np.isfinite(part)]
    low, high = (float(v) for v in np.percentile(good, (10, 100))) if good.size else (0.0, 1.0)
    axis.imshow(
        np.sqrt(np.clip((part - low) / max(high - low, 1e-12), 0.0, 1.0)), origin="lower", cmap="gray_r",
        extent=extent, interpolation="nearest",
    )  # fmt: skip


def _pairs(aligned: Alignment, chosen: Sequence[int]) -> dict[int, tuple[Rows, Rows]]:
    """Rows of the sources of an exposure, and of their matches in its partner."""
    found: dict[int, tuple[list[Any], list[Any]]] = {n: ([], []) for n in chosen}
    solution = aligned.solution
    for i, j, a, b in matched_pairs(aligned.table, solution.shifts, solution.radius):
        for n in chosen:
            m = _partner(n)
            if i == min(n, m):
                use = j == max(n, m)
                mine, other = (a[use], b[use]) if i == n else (b[use], a[use])
                found[n][0].extend(mine)
                found[n][1].extend(other)
    return {n: (np.array(a, np.int64), np.array(b, np.int64)) for n, (a, b) in found.items()}
