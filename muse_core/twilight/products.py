# SPDX-License-Identifier: BSD-3-Clause
"""Extensions and keywords of DATACUBE_SKYFLAT and TWILIGHT_CUBE."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from muse_core.data.extension_keywords import old_quality_cards
from muse_core.detector.headers import raw_header
from muse_core.framework.execution import RunContext
from muse_core.framework.frames import Frames
from muse_core.framework.products import Card, set_card
from muse_core.resampling.grid import OutputGrid
from muse_core.twilight.cube import SkyCube
from muse_core.twilight.inputs import TwilightInputs
from muse_core.twilight.model import TwilightModel
from muse_core.twilight.steps import SkyFlat
from muse_core.twilight.stored_cube import StoredSkyCube

ALL_BITS = 4294967295
TEXT_LENGTH = 68
IMAGE_TEXTS = {
    "white_global_fit": "white from global fit",
    "white_div_global": "normalized white-light divided by white global fit",
    "white_div_global_excl_edges": "white-light divided by white global, mask excl edges",
    "vign_fit": "vignetting fit",
    "white_cor": "white image corrected by vignetting fit",
}


def flux_cards(lamp_flux: float, fluxes: dict[int, float]) -> list[tuple[str, float, str]]:
    """DRS keywords of the integrated fluxes."""
    cards = [] if not np.isfinite(lamp_flux) else [("ESO DRS MUSE FLAT FLUX LAMP", lamp_flux, "")]
    return cards + [(f"ESO DRS MUSE FLAT FLUX SKY{ifu}", flux, "") for ifu, flux in sorted(fluxes.items())]


def _spatial(grid: OutputGrid) -> list[tuple[str, object]]:
    cards: list[tuple[str, object]] = []
    for axis in (1, 2):
        cards += [
            (f"CRPIX{axis}", grid.crpix[axis - 1]),
            (f"CRVAL{axis}", float(grid.crval[axis - 1])),
            (f"CTYPE{axis}", grid.ctype[axis - 1]),
            (f"CUNIT{axis}", grid.cunit[axis - 1]),
            (f"CD{axis}_{axis}", grid.cd[axis - 1][axis - 1]),
        ]
    return [*cards, ("CD1_2", 0.0), ("CD2_1", 0.0)]


def _spectral(grid: OutputGrid) -> list[tuple[str, object]]:
    return [
        ("CTYPE3", grid.ctype[2]),
        ("CUNIT3", grid.cunit[2]),
        ("CD3_3", float(grid.dlambda)),
        ("CRPIX3", grid.crpix[2]),
        ("CRVAL3", float(grid.crval[2])),
        ("CD1_3", 0.0),
        ("CD2_3", 0.0),
        ("CD3_1", 0.0),
        ("CD3_2", 0.0),
    ]


def _extension(
    data: npt.NDArray[Any],
    name: str,
    title: str,
    comment: str,
    wcs: list[tuple[str, object]],
    kind: str,
    tail: list[Card],
) -> fits.ImageHDU:
    hdu = fits.ImageHDU(data)
    header = hdu.header
    header["OBJECT"] = title[:TEXT_LENGTH]
    for key, value in wcs:
        header[key] = value
    texts = {
        "DATA": "this extension contains the data itself",
        "ERROR": "this extension contains variance",
        "QUALITY": "this extension contains bad pixel mask",
    }
    for key, value, text in (
        ("EXTNAME", name, comment),
        ("HDUCLASS", "ESO", "class name (ESO format)"),
        ("HDUDOC", "DICD", "document with class description"),
        ("HDUVERS", "DICD version 6", "version number (according to spec v2.5.1)"),
        ("HDUCLAS1", "IMAGE", "Image data format"),
        ("HDUCLAS2", kind, texts[kind]),
        *tail,
    ):
        set_card(header, key, value, text)
    return hdu


def _image(
    data: npt.NDArray[Any],
    name: str,
    title: str,
    wcs: list[tuple[str, object]],
    unit: str,
    quality: str = "",
) -> fits.ImageHDU:
    tail: list[Card] = [("QUALDATA", quality, "pointer to the bad pixel mask extension")] if quality else []
    tail.append(("BUNIT", unit, ""))
    return _extension(data, name, title, "reconstructed image (data values)", wcs, "DATA", tail)


def _masked(data: npt.NDArray[Any], bad: npt.NDArray[np.bool_], name: str, unit: str) -> list[fits.ImageHDU]:
    mask = f"{name}_DQ"
    tail: list[Card] = [
        ("HDUCLAS3", "FLAG32BIT", "32bit Euro3D bad pixel information"),
        ("QUALMASK", ALL_BITS, "all non-zero values are bad"),
        ("SCIDATA", name, "pointer to the data extension"),
    ]
    return [
        _image(data, name, f"{IMAGE_TEXTS[name]} ({name})", [], unit, mask),
        _extension(
            bad.astype(np.int32),
            mask,
            f"{IMAGE_TEXTS[name]} ({name}, DQ)",
            "reconstructed image (bad pixel status values)",
            [],
            "QUALITY",
            tail,
        ),
    ]


def datacube_hdus(cube: SkyCube, white: npt.NDArray[np.float32], target: str) -> fits.HDUList:
    """Primary, DATA, STAT and the white image of DATACUBE_SKYFLAT."""
    wcs = _spatial(cube.grid) + _spectral(cube.grid)
    data = _extension(
        cube.data,
        "DATA",
        f"{target} (DATA)",
        "This extension contains data values",
        wcs,
        "DATA",
        [("ERRDATA", "STAT", "pointer to the variance extension"), ("BUNIT", "count", "")],
    )
    stat = _extension(
        cube.stat,
        "STAT",
        f"{target} (STAT)",
        "This extension contains data variance",
        wcs,
        "ERROR",
        [
            ("HDUCLAS3", "MSE", "the extension contains variances (sigma**2)"),
            ("SCIDATA", "DATA", "pointer to the data extension"),
            ("BUNIT", "(count)**2", ""),
        ],
    )
    image = _image(white, "white", f"{target} (white)", _spatial(cube.grid), "count")
    return fits.HDUList([fits.PrimaryHDU(), data, stat, image])


def twilight_hdus(model: TwilightModel, grid: OutputGrid, target: str) -> fits.HDUList:
    """All extensions of TWILIGHT_CUBE."""
    wcs = _spatial(grid)
    data = _extension(
        model.planes,
        "DATA",
        f"{target} (DATA)",
        "This extension contains data values",
        wcs + _spectral(grid),
        "DATA",
        [("BUNIT", "count", "")],
    )
    name = "white_global_fit"
    hdus = [
        fits.PrimaryHDU(),
        data,
        _image(model.global_fit, name, f"{IMAGE_TEXTS[name]} ({name})", wcs, "count"),
        *_masked(model.ratio, ~model.good, "white_div_global", "1"),
    ]
    edge = model.vignetting
    if edge is not None:
        if edge.edges_excluded:
            hdus += _masked(edge.image, ~edge.fit_region, "white_div_global_excl_edges", "1")
        hdus += _masked(edge.correction, ~edge.region, "vign_fit", "")
        hdus += _masked(model.corrected, ~edge.fit_region, "white_cor", "count")
    return fits.HDUList(hdus)


def save_sky_flat(
    sky: SkyFlat, model: TwilightModel, inputs: TwilightInputs, frames: Frames, ctx: RunContext
) -> None:
    """Write both products of a complete run."""
    first = sky.ifus[min(sky.ifus)]
    # the first sky flat that the IFU used: others may lack it
    raw = next(job.exposures[0] for job in inputs.ifus if job.ifu == first.ifu)
    primary = raw.primary
    base = raw_header(primary, raw.headers[first.ifu])
    extra = [*flux_cards(first.lamp_flux, sky.fluxes), *old_quality_cards(base)]
    used = inputs.used_frames(frames)
    target = str(primary.get("OBJECT", ""))
    qc = sky.quality_cards()
    ctx.save(
        "DATACUBE_SKYFLAT",
        datacube_hdus(sky.cube, model.white, target),
        base=base,
        used=used,
        qc=qc,
        extra=extra,
    )
    if not inputs.narrow_field:
        used += frames["VIGNETTING_MASK"]
    ctx.save("TWILIGHT_CUBE", twilight_hdus(model, sky.cube.grid, target), base=base, used=used, extra=extra)
    if inputs.failed:
        ctx.products[:] = [replace(product, complete=False) for product in ctx.products]


def save_model_alone(
    cube: StoredSkyCube, model: TwilightModel, narrow_field: bool, frames: Frames, ctx: RunContext
) -> None:
    """Write the TWILIGHT_CUBE of a stored sky flat; the header is that of the stored one."""
    tags = ("SKYFLAT", "ILLUM") if narrow_field else ("SKYFLAT", "ILLUM", "VIGNETTING_MASK")
    extra = [
        (name, cube.header[name], "") for name in cube.header if name.startswith("ESO DRS MUSE FLAT FLUX ")
    ]
    hdus = twilight_hdus(model, cube.grid, str(cube.header.get("OBJECT", "")))
    base = cube.header.copy()
    for name in [name for name in base if name.startswith(("ESO PRO ", "ESO QC "))]:
        del base[name]
    ctx.save("TWILIGHT_CUBE", hdus, base=base, used=[f for f in frames if f.tag in tags], extra=extra)
