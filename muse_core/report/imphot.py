# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of muse_imphot: results with errors, the pictures of each fit."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from muse_core.report.page import Page, Picture, Section, table

if TYPE_CHECKING:
    from muse_core.photometry.exposures import Exposure

PARAMETERS = (
    ("scale", "flux scale"),
    ("bg", "background"),
    ("dra", "RA [arcsec]"),
    ("ddec", "DEC [arcsec]"),
    ("fwhm", "FWHM [arcsec]"),
    ("beta", "beta"),
)


def imphot_page(exposures: Sequence[Exposure]) -> Page:
    """Describe the page of all images that were fitted."""
    rows: list[list[str]] = []
    marked, looks = [], []
    sections = []
    for exposure in exposures:
        for fit in exposure.fits:
            if fit.flag:
                marked.append(len(rows))
                looks.append(
                    f"{exposure.name}, {fit.method}: flag {fit.flag}, the result cannot be trusted as it is"
                )
            values = [
                with_error(getattr(fit, name).value, getattr(fit, name).stdev) for name, _ in PARAMETERS
            ]
            rows.append([exposure.name, fit.method, *values, f"{fit.rms_error:.4g}", str(fit.flag)])
        if exposure.plot is not None:
            caption = (
                "Above: MUSE image, HST image as MUSE sees it, and what is left. Below: the moduli of their "
                "transforms."
            )
            sections.append(Section(exposure.name, (plot_picture(exposure.plot, exposure.name, caption),)))
    head = ("image", "method", *(title for _, title in PARAMETERS), "rms", "flag")
    results = Section("Results", (table(head, rows, marked),))
    good = sum(1 for exposure in exposures for fit in exposure.fits if not fit.flag)
    total = sum(len(exposure.fits) for exposure in exposures)
    return Page(f"{good} of {total} fit(s) without a flag.", looks, [], [results, *sections])


def with_error(value: float, stdev: float | None) -> str:
    """Return a value with its error; what was not fitted is held.

    >>> with_error(1.24987, 0.0101), with_error(2.8, 0.0), with_error(float("nan"), 1.0)
    ('1.250 ± 0.010', '2.8 (held)', 'not measured')
    """
    if not np.isfinite(value):
        return "not measured"
    if not stdev or not np.isfinite(stdev) or stdev < 0:
        return f"{value:.5g} (held)"
    digits = int(np.clip(1 - np.floor(np.log10(stdev)), 0, 8))
    return f"{value:.{digits}f} ± {stdev:.{digits}f}"


def plot_picture(rgb: npt.NDArray[np.uint8], text: str, caption: str) -> Picture:
    """Embed a plot (uint8[ny, nx, 3], first row at the bottom)."""
    from matplotlib import image

    buffer = io.BytesIO()
    image.imsave(buffer, rgb[::-1], format="png")
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    return Picture(f"data:image/png;base64,{data}", f"fit of {text}", caption)
