# SPDX-License-Identifier: BSD-3-Clause
"""What the parameters of the recipe mean, and which values make no sense."""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


def parse_radii(text: str) -> list[float]:
    """Read the list of search radii.

    Blanks and empty items are skipped and what follows a number in an item is ignored, as in 2.8.7.

    Examples
    --------
    >>> parse_radii("30., 4x,,0.8")
    [30.0, 4.0, 0.8]
    """
    radii = []
    for item in text.split(","):
        if not item.strip():
            continue
        match = _NUMBER.match(item)
        if match is None or not math.isfinite(float(match.group(1))):
            raise ValueError(f"rsearch: {item.strip()!r} is not a number")
        radii.append(float(match.group(1)))
    if not radii:
        raise ValueError("rsearch: the list of search radii is empty")
    return radii


def parameter_faults(p) -> list[str]:
    """Return what is wrong with the values of the parameters, in words."""
    faults = []
    try:
        parse_radii(p.rsearch)
    except ValueError as error:
        faults.append(str(error))
    for wrong, text in (
        (p.nbins < 2, f"nbins: {p.nbins} is too small, 2 or more bins are needed"),
        (not 0.5 <= p.fwhm < 1e4, f"fwhm: {p.fwhm:g} is not a width in pixels of 0.5 or more"),
        (p.bkgignore < 0, f"bkgignore: {p.bkgignore:g} is negative"),
        (p.bkgfraction <= 0, f"bkgfraction: {p.bkgfraction:g} is not positive"),
        (p.step < 0 or not math.isfinite(p.step), f"step: {p.step:g} is not a positive number"),
        (not math.isfinite(p.threshold), f"threshold: {p.threshold:g} is not finite"),
        (p.srcmax < p.srcmin, f"srcmax: {p.srcmax} is below srcmin = {p.srcmin}"),
        (p.roundmax < p.roundmin, f"roundmax: {p.roundmax:g} is below roundmin = {p.roundmin:g}"),
        (p.sharpmin <= 0, f"sharpmin: {p.sharpmin:g} is not positive"),
        (p.sharpmax < p.sharpmin, f"sharpmax: {p.sharpmax:g} is below sharpmin = {p.sharpmin:g}"),
        (
            not 0 <= p.bpixdistance < math.inf,
            f"bpixdistance: {p.bpixdistance:g} is not a distance of 0 pixels or more",
        ),
    ):
        if wrong:
            faults.append(text)
    return faults
