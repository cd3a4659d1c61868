# SPDX-License-Identifier: BSD-3-Clause
"""Scenes drawn from real observations: the MUSE data that mpdaf carries, or any cube or image in FITS.

mpdaf itself is not imported; only the files it installs are read.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
from astropy.io import fits

from muse_core.framework.fits_file import open_fits
from muse_core.simulate.scene import Scene, SceneCube

ABELL478 = "sdetect/minicube.fits"
HDFS_IMAGE = "obj/IMAGE-HDFS-1.34.fits"
SMALL_CUBE = "obj/CUBE.fits"


class SceneDataError(RuntimeError):
    """The observation a scene is to be drawn from is not there."""


def _grid(
    x0: float, dx: float, y0: float, dy: float, lam0: float, dlam: float
) -> tuple[float, float, float, float, float, float]:
    return float(x0), float(dx), float(y0), float(dy), float(lam0), float(dlam)


def mpdaf_data(name: str) -> Path:
    """Path of a data file installed with mpdaf."""
    found = importlib.util.find_spec("mpdaf")
    if found is None or not found.submodule_search_locations:
        raise SceneDataError(
            f"scene data {name}: mpdaf is not installed; install it with `pip install mpdaf`"
        )
    path = Path(next(iter(found.submodule_search_locations))) / "data" / name
    if not path.is_file():
        raise SceneDataError(f"scene data {name}: this installation of mpdaf does not carry the file {path}")
    return path


def _pixel_matrix(header: fits.Header) -> np.ndarray:
    """CD matrix of the two spatial axes [arcsec per pix]."""
    if "CD1_1" in header:
        cd = [[header.get(f"CD{i}_{j}", 0.0) for j in (1, 2)] for i in (1, 2)]
    else:
        step = [header.get("CDELT1", 1.0), header.get("CDELT2", 1.0)]
        cd = [[step[i] * header.get(f"PC{i + 1}_{j + 1}", float(i == j)) for j in range(2)] for i in range(2)]
    return np.array(cd) * 3600.0


def load_scene_cube(
    path: Path | str,
    *,
    extension: str | int = "DATA",
    centre: tuple[float, float] = (0.0, 0.0),
    lambda_range: tuple[float, float] | None = None,
    scale: float = 1.0,
    blank_edge: int = 0,
) -> SceneCube:
    """Load a cube or image as a scene, its middle put at `centre` (xi, eta) [arcsec].

    The orientation on the sky is lost where it is not north up (the axes are taken as they are, only their
    pixel sizes count). Values are in 1e-20 erg/s/cm2/A per 0.2" spaxel; NaN becomes 0.

    Parameters
    ----------
    lambda_range : planes to keep [A]
    scale : factor for the light
    blank_edge : soft margin [pix] over which the light fades towards the border
    """
    with open_fits(Path(path), memmap=True) as hdus:
        hdu = hdus[extension]
        header, data = hdu.header, hdu.data
        matrix = _pixel_matrix(header)
        lam0, dlam = 7000.0, 1.0
        if data.ndim == 3:
            dlam = header.get("CD3_3", header.get("CDELT3", 1.25))
            lam0 = header["CRVAL3"] + (1 - header.get("CRPIX3", 1.0)) * dlam
            first, last = 0, data.shape[0]
            if lambda_range is not None:
                first = max(0, int(np.floor((lambda_range[0] - lam0) / dlam)) - 1)
                last = min(data.shape[0], int(np.ceil((lambda_range[1] - lam0) / dlam)) + 2)
            if last - first < 2:
                low, high = lam0, lam0 + dlam * (data.shape[0] - 1)
                raise SceneDataError(
                    f"{Path(path).name}: it covers {low:.0f}..{high:.0f} A, not {lambda_range}"
                )
            values = np.array(data[first:last], np.float32)
            lam0 += first * dlam
        else:
            values = np.array(data, np.float32)[None]
    np.nan_to_num(values, copy=False)
    steps = np.hypot(matrix[0], matrix[1])
    dxi = -steps[0] if matrix[0, 0] <= 0 else steps[0]
    _, ny, nx = values.shape
    if blank_edge:
        ramp = [np.clip(np.minimum(np.arange(n), n - 1 - np.arange(n)) / blank_edge, 0, 1) for n in (ny, nx)]
        values *= (ramp[0][:, None] * ramp[1]).astype(np.float32)
    grid = (centre[0] - dxi * (nx - 1) / 2, dxi, centre[1] - steps[1] * (ny - 1) / 2, steps[1], lam0, dlam)
    return SceneCube(values, _grid(*grid), scale)


def abell478(
    lambda_range: tuple[float, float], centre: tuple[float, float] = (0.0, 0.0), scale: float = 1.0
) -> SceneCube:
    """Core of the brightest galaxy of Abell 478 with its H-alpha nebula (z = 0.088), 8" x 8", 4750..9350 A.

    The light at the border of the cut-out (the halo of the galaxy) is subtracted and what remains fades out
    in a circle, so that no box stands in the field.
    """
    cube = load_scene_cube(mpdaf_data(ABELL478), centre=centre, lambda_range=lambda_range, scale=scale)
    ny, nx = cube.data.shape[1:]
    yy, xx = np.mgrid[:ny, :nx]
    radius = np.hypot(yy - 19.0, xx - 22.0) / 17.0  # the nebula is a little off the middle
    halo = np.median(cube.data[:, radius > 1.0], axis=1)
    cube.data[:] -= halo[:, None, None]
    cube.data[:] *= np.clip((1.05 - radius) / 0.45, 0, 1).astype(np.float32)
    return cube


def hdfs_field(
    lambda_range: tuple[float, float],
    *,
    size: tuple[int, int] | None = None,
    centre: tuple[float, float] = (0.0, 0.0),
    scale: float = 1.0,
    seed: int = 478,
    threshold: float = 0.35,
    planes: int = 33,
) -> SceneCube:
    """Build a cube from the MUSE white-light image of the Hubble Deep Field South.

    Shapes and relative brightness are those of the real objects; the image has no spectra, so every object
    gets one of its own: a continuum slope, a spectral break or an emission line at a random redshift.

    Parameters
    ----------
    size : crop around the middle (nx, ny) [pix]
    scale : factor for the light (the real field is faint for one exposure)
    threshold : objects are contiguous pixels above this value of the image
    planes : number of wavelengths of the result
    """
    from scipy import ndimage

    flat = load_scene_cube(mpdaf_data(HDFS_IMAGE), centre=centre, scale=scale, blank_edge=3)
    image = flat.data[0]
    if size is not None:
        ny, nx = image.shape
        y0, x0 = (ny - size[1]) // 2, (nx - size[0]) // 2
        image = image[y0 : y0 + size[1], x0 : x0 + size[0]]
    smooth = ndimage.gaussian_filter(image, 1.0)
    labels, n = ndimage.label(smooth > threshold)
    image = np.where(smooth > 0.1, np.clip(image, 0, None), 0).astype(np.float32)
    # light below the threshold belongs to the nearest object
    _, nearest = ndimage.distance_transform_edt(labels == 0, return_indices=True)
    owner = labels[tuple(nearest)]
    wave = np.linspace(*lambda_range, planes)
    u = (wave - lambda_range[0]) / (lambda_range[1] - lambda_range[0])
    rng = np.random.default_rng(seed)
    cube = np.zeros((planes, *image.shape), np.float32)
    for k in range(1, n + 1):
        kind = rng.uniform()
        spectrum = 1 + rng.uniform(-0.5, 0.5) * (u - 0.5)
        if kind < 0.35:  # a break, as of an old population at a matching redshift
            spectrum *= 1 + 0.9 * np.tanh((u - rng.uniform(0.2, 0.8)) / 0.06)
        elif kind < 0.8:  # an emission line
            spectrum = 0.45 * spectrum + rng.uniform(1.5, 5) * np.exp(
                -0.5 * ((u - rng.uniform(0.05, 0.95)) / 0.045) ** 2
            )
        mask = owner == k
        cube[:, mask] = image[mask] * spectrum[:, None]
    ny, nx = image.shape
    dxi, deta = flat.grid[1], flat.grid[3]
    grid = (
        centre[0] - dxi * (nx - 1) / 2,
        dxi,
        centre[1] - deta * (ny - 1) / 2,
        deta,
        wave[0],
        wave[1] - wave[0],
    )
    return SceneCube(cube, _grid(*grid), scale)


DEMO_RANGE = (7095.0, 7325.0)


def demo_scene(lambda_range: tuple[float, float] = DEMO_RANGE, size: tuple[int, int] = (170, 170)) -> Scene:
    """Scene of the demonstration: Abell 478 in the middle of a (brightened) Hubble Deep Field South."""
    field = hdfs_field(lambda_range, size=size, scale=14.0)
    # the middle is kept free for the galaxy
    ny, nx = field.data.shape[1:]
    yy, xx = np.mgrid[:ny, :nx]
    radius = np.hypot(yy - (ny - 1) / 2, xx - (nx - 1) / 2)
    field.data[:] *= np.clip((radius - 14) / 6, 0, 1).astype(np.float32)
    return Scene(cubes=(field, abell478(lambda_range, scale=0.8)))


def demo_filters() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Three bands for the demonstration: the H-alpha group of Abell 478, its sulphur lines, continuum."""
    bands = {"Halpha": (7100.0, 7162.0), "SII": (7284.0, 7320.0), "continuum": (7166.0, 7232.0)}
    curves = {}
    for name, (low, high) in bands.items():
        wave = np.linspace(low, high, 63)
        edge = np.minimum(wave - low, high - wave)
        curves[name] = (wave, np.round(0.9 * np.clip(edge / 4.0, 0, 1), 6))
    return curves
