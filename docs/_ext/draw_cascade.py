# SPDX-License-Identifier: BSD-3-Clause
"""Draw docs/pictures/cascade.svg: from raw frames to the cube (``python draw_cascade.py``)."""

from __future__ import annotations

from pathlib import Path

TARGET = Path(__file__).resolve().parents[1] / "pictures" / "cascade.svg"
ROW = 58
TOP = 96
RAW, FIRST, SECOND, PRODUCT, BUS, SCIENCE = 20, 150, 290, 430, 640, 720
COLOURS = {"raw": ("#eef1f5", "#8a94a3"), "recipe": ("#dbe9f8", "#2a6fb0"), "product": ("#fdf0e0", "#d9731a")}
CALIBRATIONS = (  # raw frames, recipes, products, into which recipe, needed
    ("BIAS", ("muse_bias",), "MASTER_BIAS", "basic", True),
    ("DARK", ("muse_dark",), "MASTER_DARK", "basic", False),
    ("FLAT", ("muse_flat",), "MASTER_FLAT, TRACE_TABLE", "basic", True),
    ("ARC", ("muse_wavecal",), "WAVECAL_TABLE", "basic", True),
    ("SKYFLAT, ILLUM", ("muse_twilight",), "TWILIGHT_CUBE", "basic", False),
    ("", (), "GEOMETRY_TABLE (archive)", "basic", True),
    ("ARC", ("muse_lsf",), "LSF_PROFILE", "post", False),
    ("STD", ("muse_scibasic", "muse_standard"), "STD_RESPONSE, STD_TELLURIC", "post", False),
    ("SKY", ("muse_scibasic", "muse_create_sky"), "SKY_LINES, SKY_CONTINUUM", "post", False),
    ("ASTROMETRY", ("muse_scibasic", "muse_astrometry"), "ASTROMETRY_WCS", "post", False),
    ("", (), "EXTINCT, FILTERS, RAMAN (static)", "post", False),
)
CHAIN = (  # kind, text, height in rows
    ("raw", "OBJECT, ILLUM", 0.0), ("recipe", "muse_scibasic", 2.2), ("product", "PIXTABLE_OBJECT", 3.4),
    ("recipe", "muse_scipost", 6.2), ("product", "PIXTABLE_REDUCED, IMAGE_FOV", 7.4),
    ("recipe", "muse_exp_align", 8.6), ("product", "OFFSET_LIST", 9.8),
    ("recipe", "muse_exp_combine", 11.0), ("product", "DATACUBE_FINAL", 12.2),
)  # fmt: skip


def box(x: float, y: float, width: float, text: str, kind: str, dashed: bool = False) -> str:
    """Return a box with a text in its middle."""
    fill, edge = COLOURS[kind]
    dash = ' stroke-dasharray="5 3"' if dashed else ""
    weight = ' font-weight="600"' if kind == "recipe" else ""
    size = min(13.0, (width - 10) / (0.67 if kind == "recipe" else 0.64) / len(text))
    return (
        f'<rect x="{x}" y="{y - 16}" width="{width}" height="32" rx="7" fill="{fill}" stroke="{edge}"{dash}/>'
        f'<text x="{x + width / 2}" y="{y + 4.5}" text-anchor="middle" font-size="{size:.1f}"{weight}>{text}</text>'
    )


def arrow(x1: float, y1: float, x2: float, y2: float) -> str:
    """Return an arrow."""
    return f'<line x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}" class="a" marker-end="url(#head)"/>'


def line(*points: tuple[float, float], head: bool = False) -> str:
    """Return a bent line, with a head at its end if asked for."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" class="a"{" marker-end=" + chr(34) + "url(#head)" + chr(34) if head else ""}/>'


def draw() -> str:
    """Return the diagram."""
    parts = []
    ends: dict[str, list[float]] = {"basic": [], "post": []}
    for number, (raw, recipes, product, target, needed) in enumerate(CALIBRATIONS):
        y = TOP + number * ROW
        if raw:
            parts.append(box(RAW, y, 112, raw, "raw"))
        places = (FIRST, SECOND)[: len(recipes)] if len(recipes) == 2 else (SECOND,)
        x = RAW + 112
        for place, recipe in zip(places, recipes, strict=False):
            parts += [arrow(x, y, place - 3, y), box(place, y, 122, recipe, "recipe")]
            x = place + 122
        if recipes:
            parts.append(arrow(x, y, PRODUCT - 3, y))
        parts.append(box(PRODUCT, y, 190, product, "product", not needed))
        bus = BUS if target == "basic" else BUS + 22
        parts.append(line((PRODUCT + 190, y), (bus, y)))
        ends[target].append(y)
    heights = {text: TOP + rows * ROW for _, text, rows in CHAIN}
    for target, recipe, bus in (("basic", "muse_scibasic", BUS), ("post", "muse_scipost", BUS + 22)):
        y = heights[recipe]
        span = [*ends[target], y]
        parts.append(line((bus, min(span)), (bus, max(span))))
        parts.append(line((bus, y), (SCIENCE - 3, y), head=True))
    width = 210
    for (_, upper, _), (kind, text, _) in zip(CHAIN, CHAIN[1:], strict=False):
        parts.append(arrow(SCIENCE + width / 2, heights[upper] + 16, SCIENCE + width / 2, heights[text] - 19))
        del kind
    parts += [box(SCIENCE, heights[text], width, text, kind) for kind, text, _ in CHAIN]
    side = SCIENCE + width + 26  # the reduced tables go round the alignment
    top, bottom = heights["PIXTABLE_REDUCED, IMAGE_FOV"], heights["muse_exp_combine"]
    parts.append(
        line((SCIENCE + width, top), (side, top), (side, bottom), (SCIENCE + width + 3, bottom), head=True)
    )
    height = max(heights.values()) + 40
    titles = ((RAW, "raw frames"), (SECOND, "recipes"), (PRODUCT, "calibrations"), (SCIENCE, "your target"))
    parts += [f'<text x="{x}" y="42" font-size="15" font-weight="700">{text}</text>' for x, text in titles]
    note = "dashed: what it corrects stays in the data without it"
    parts.append(f'<text x="{PRODUCT}" y="62" font-size="11" fill="#5a6472">{note}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 980 {height:.0f}" font-family="system-ui, sans-serif" '
        'fill="#1d2229" role="img" aria-label="From raw frames to the cube">\n'
        "<style>.a{stroke:#5a6472;stroke-width:1.4;fill:none}</style>\n"
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#5a6472"/></marker></defs>\n'
        f'<rect width="980" height="{height:.0f}" fill="#fff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(draw(), encoding="utf-8")
