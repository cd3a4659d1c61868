# SPDX-License-Identifier: BSD-3-Clause
"""Image products and the quality page of the recipe muse_imphot."""

from __future__ import annotations

import base64
import html

import numpy as np

from .outputs import full_modulus
from .recipe_steps import on_muse_grid, png_bytes
from .recipe_tables import qc_cards

__all__ = ["html_page", "picture", "qc_of", "regridded"]


def qc_of(exposure):
    """QC cards of one exposure."""
    return qc_cards([exposure.best])


def regridded(exposure):
    """The HST image on the MUSE pixels, as HDU list."""
    from astropy.io import fits

    image = on_muse_grid(str(exposure.reference.path), exposure.image)
    image.primary_header = fits.Header()
    image.var = None
    return image.to_hdus()


def picture(exposure, word):
    """HDU list of the model, the residual, the transforms or the plot of one exposure."""
    from astropy.io import fits

    pictures, image = exposure.pictures, exposure.image
    if word == "plot":
        hdu = fits.ImageHDU(np.ascontiguousarray(np.moveaxis(pictures["plot"], 2, 0)), name="PLOT")
        return fits.HDUList([fits.PrimaryHDU(), hdu])
    if word == "fft":
        shape = pictures["padded_shape"]
        planes = {"DATA": pictures["muse_fft"], "MODEL": pictures["model_fft"]}
        hdus = [
            fits.ImageHDU(full_modulus(half, shape).astype(np.float32), name=name)
            for name, half in planes.items()
        ]
        return fits.HDUList([fits.PrimaryHDU(), *hdus])
    plane = pictures["model"] if word == "model" else pictures["muse"] - pictures["model"]
    header = image.wcs_header()
    header["CRPIX1"] -= pictures["crop"][1].start
    header["CRPIX2"] -= pictures["crop"][0].start
    values = np.where(pictures["used"], plane, np.nan).astype(np.float32)
    hdu = fits.ImageHDU(values, header, name="DATA")
    if isinstance(image.unit, str) and image.unit:
        hdu.header["BUNIT"] = image.unit
    return fits.HDUList([fits.PrimaryHDU(), hdu])


def html_page(exposures):
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
        if e.pictures is not None:
            data = base64.b64encode(png_bytes(e.pictures["plot"])).decode("ascii")
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
