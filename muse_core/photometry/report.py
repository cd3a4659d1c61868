# SPDX-License-Identifier: BSD-3-Clause
"""The quality page of the recipe muse_imphot."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from muse_core.photometry.exposures import Exposure

__all__ = ["html_page"]


def html_page(exposures: Sequence[Exposure]) -> str:
    """Quality page: a table of the results and the plots, all in one file."""
    names = ("scale", "bg", "dx", "dy", "dra", "ddec", "fwhm", "beta")
    head = "".join(f"<th>{n}</th>" for n in ("image", "method", *names, "rms", "flag"))
    rows, plots = [], []
    for e in exposures:
        for f in e.fits:
            cells = "".join(
                f"<td>{getattr(f, n).value:.5g} &plusmn; {getattr(f, n).stdev:.2g}</td>" for n in names
            )
            rows.append(
                f"<tr><td>{html.escape(e.name)}</td><td>{f.method}</td>{cells}<td>{f.rms_error:.4g}</td><td>{f.flag}</td></tr>"
            )
        if e.plot is not None:
            data = base64.b64encode(png_bytes(e.plot)).decode("ascii")
            plots.append(
                f'<h2>{html.escape(e.name)}</h2><img alt="fit" style="max-width:100%" '
                f'src="data:image/png;base64,{data}">'
            )
    style = (
        "body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{padding:.2em .6em;border:1px solid #bbb;text-align:right}"
    )
    return (
        "<!DOCTYPE html><html><head><meta "
        f"charset='utf-8'><title>muse_imphot</title><style>{style}</style></head><body>"
        f"<h1>muse_imphot</h1><table><tr>{head}</tr>{''.join(rows)}</table>{''.join(plots)}</body></html>"
    )


def png_bytes(rgb: npt.NDArray[np.uint8]) -> bytes:
    """A plot of `Exposure` as PNG file."""
    from matplotlib import image

    buffer = io.BytesIO()
    image.imsave(buffer, rgb[::-1], format="png")
    return buffer.getvalue()
