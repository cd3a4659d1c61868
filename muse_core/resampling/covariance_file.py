# SPDX-License-Identifier: BSD-3-Clause
"""The extension COVARIANCE of a cube."""

from __future__ import annotations

import numpy as np
from astropy.io import fits

from muse_core.framework import InputError
from muse_core.resampling.covariance import Covariance

NAME = "COVARIANCE"
KEY = "ESO DRS MUSE COVAR"


def covariance_extension(covariance: Covariance) -> fits.ImageHDU:
    """Return the extension; axes: dx, dy, dlambda, x and y of the tiles, blocks of planes."""
    hdu = fits.ImageHDU(np.asarray(covariance.rho, np.float32), name=NAME)
    reach = (covariance.rho.shape[4] - 1) // 2
    tile, block = covariance.tile, covariance.block
    axes = (
        ("DX", reach + 1.0, 0.0, 1.0, "offset along x [spaxels]"),
        ("DY", reach + 1.0, 0.0, 1.0, "offset along y [spaxels]"),
        ("DLAMBDA", 1.0, 0.0, 1.0, "offset along wavelength [planes]"),
        ("X", 1.0, 0.5 * (tile + 1), float(tile), "middle of the tile [spaxels]"),
        ("Y", 1.0, 0.5 * (tile + 1), float(tile), "middle of the tile [spaxels]"),
        ("PLANE", 1.0, 0.5 * (block + 1), float(block), "middle of the block [planes]"),
    )
    for number, (name, pixel, value, step, comment) in enumerate(axes, 1):
        hdu.header[f"CTYPE{number}"] = (name, comment)
        hdu.header[f"CRPIX{number}"] = pixel
        hdu.header[f"CRVAL{number}"] = value
        hdu.header[f"CDELT{number}"] = step
    hdu.header[f"HIERARCH {KEY} TILE"] = (tile, "[spaxels] side of a tile")
    hdu.header[f"HIERARCH {KEY} BLOCK"] = (block, "[planes] height of a block")
    hdu.header[f"HIERARCH {KEY} APERTURE"] = (
        covariance.stat_aperture,
        "[spaxels] for which STAT is right",
    )
    if covariance.stat_aperture > 1:
        for number, scale in enumerate(covariance.scales, 1):
            hdu.header[f"HIERARCH {KEY} SCALE{number}"] = (float(scale), "of STAT")
    return hdu


def read_covariance(hdus: fits.HDUList, cube_shape: tuple[int, ...], file: str = "") -> Covariance:
    """Read the extension.

    Parameters
    ----------
    cube_shape : (int, int, int)
        planes, rows and columns of the cube that it goes with

    Raises
    ------
    InputError
        if there is none, or it is not as it was written
    """
    if NAME not in hdus:
        raise InputError(
            file, NAME, expected="an extension with the correlation of voxels", found="none",
            remedy="Make the cube with covariance=true.",
        )  # fmt: skip
    data, header = hdus[NAME].data, hdus[NAME].header
    sizes = [header.get(f"{KEY} {word}") for word in ("TILE", "BLOCK", "APERTURE")]
    shape = np.shape(data)
    if len(shape) != 6 or not all(isinstance(size, int) and size > 0 for size in sizes):
        raise InputError(
            file, NAME, expected=f"six axes and the keywords {KEY} TILE, BLOCK, APERTURE",
            found=f"{len(shape)} axes, {sizes}", remedy="Make the cube with covariance=true.",
        )  # fmt: skip
    tile, block, aperture = sizes
    tiles = tuple(-(-n // size) for n, size in zip(cube_shape, (block, tile, tile)))
    if shape[:3] != tiles or shape[4] != shape[5] or shape[4] % 2 == 0:
        raise InputError(
            file, NAME, expected=f"blocks and tiles {tiles} of a cube {tuple(cube_shape)}, and odd squares",
            found=f"{shape}", remedy="Take the cube as it was made: parts of it are on other tiles.",
        )  # fmt: skip
    scales = [header.get(f"{KEY} SCALE{number + 1}", 1.0) for number in range(len(data))]
    rho = np.asarray(data)  # as it lies in the file: what is needed of it is little
    usable = all(isinstance(scale, (int, float)) and 0.0 < scale < np.inf for scale in scales)
    if not usable or not np.isfinite(rho).all():
        raise InputError(
            file, NAME, expected=f"finite numbers, and positive ones in {KEY} SCALE", found="others",
            remedy="Make the cube with covariance=true.",
        )  # fmt: skip
    common = rho.mean(axis=(1, 2), dtype=np.float64)
    return Covariance(rho, block, tile, common, aperture, np.array(scales))
