# SPDX-License-Identifier: BSD-3-Clause
"""What is on the sky: stars, galaxies, images or cubes of real fields, around the centre of the field."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from muse_core.data import tangent_plane

GRID_START, GRID_STEP, GRID_SIZE = 4500.0, 2.5, 2041  # wavelengths of all smooth tables


def wavelength_grid() -> np.ndarray:
    """The grid of the smooth tables (source spectra, refraction)."""
    return GRID_START + GRID_STEP * np.arange(GRID_SIZE)


@dataclass(frozen=True)
class Star:
    """Point source: position [arcsec east and north of the field centre], flux density and temperature [K].

    The flux density is the total one of the source at 7000 A in 1e-20 erg/s/cm2/A.
    """

    xi: float
    eta: float
    flux: float
    temperature: float = 5500.0

    def spectrum(self) -> np.ndarray:
        """Flux density on the wavelength grid: black body with the strongest stellar absorption lines."""
        wave = wavelength_grid()
        x = 1.4388e8 / (wave * self.temperature)
        x0 = 1.4388e8 / (7000.0 * self.temperature)
        body = (7000.0 / wave) ** 5 * np.expm1(x0) / np.expm1(x)
        for line, depth, width in (
            (4861.3, 0.3, 6),
            (5175.0, 0.2, 14),
            (5892.9, 0.2, 6),
            (6562.8, 0.35, 6),
            (8542.1, 0.3, 5),
        ):
            body *= 1 - depth * np.exp(-0.5 * ((wave - line) / width) ** 2)
        return (self.flux * body).astype(np.float32)


@dataclass(frozen=True)
class Galaxy:
    """Extended source: a continuum and an emission line with a velocity gradient along the major axis.

    Attributes
    ----------
    xi, eta : position [arcsec]
    flux : total continuum at 7000 A [1e-20 erg/s/cm2/A]
    size : intrinsic FWHM along the major axis [arcsec]; axis_ratio; angle of the major axis [deg, north
        over east]
    line_flux : total line flux [1e-20 erg/s/cm2]; line_wavelength, line_sigma [A] (without instrument)
    gradient : wavelength change along the major axis [A per arcsec]
    slope : continuum slope, power of wavelength
    """

    xi: float
    eta: float
    flux: float
    size: float = 1.2
    axis_ratio: float = 0.6
    angle: float = 30.0
    line_flux: float = 0.0
    line_wavelength: float = 7000.0
    line_sigma: float = 1.5
    gradient: float = 0.0
    slope: float = -0.5

    def spectrum(self) -> np.ndarray:
        """Continuum on the wavelength grid."""
        return (self.flux * (wavelength_grid() / 7000.0) ** self.slope).astype(np.float32)


@dataclass(frozen=True)
class SceneCube:
    """A real (or any) field: flux per nominal spaxel on a grid in tangent-plane arcsec and wavelength.

    `grid` = xi0, dxi, eta0, deta, lambda0, dlambda; one plane means the same light at all wavelengths.
    """

    data: np.ndarray
    grid: tuple[float, float, float, float, float, float]
    scale: float = 1.0


@dataclass(frozen=True)
class Scene:
    """All light of the field except the sky."""

    stars: tuple[Star, ...] = ()
    galaxies: tuple[Galaxy, ...] = ()
    cubes: tuple[SceneCube, ...] = field(default=())

    @property
    def sources(self) -> tuple[Star | Galaxy, ...]:
        """All sources, stars first."""
        return (*self.stars, *self.galaxies)

    def source_table(self, seeing: float, xi: np.ndarray, eta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sources as the kernel takes them, at the positions (stars first) seen from one exposure."""
        n = len(self.stars) + len(self.galaxies)
        table = np.zeros((n, 12))
        spectra = np.zeros((n, GRID_SIZE), np.float32)
        for k, star in enumerate(self.stars):
            table[k] = (xi[k], eta[k], 1.0, seeing, 1.0, 0.0, 2.8, -0.2, 0.0, 7000.0, 1.0, 0.0)
            spectra[k] = star.spectrum()
        for k, g in enumerate(self.galaxies, len(self.stars)):
            major = np.hypot(g.size, seeing)
            ratio = np.hypot(g.size * g.axis_ratio, seeing) / major
            table[k] = (
                xi[k], eta[k], 1.0, major, ratio, np.deg2rad(g.angle), 2.5, 0.0,
                g.line_flux, g.line_wavelength, g.line_sigma, g.gradient,
            )  # fmt: skip
            spectra[k] = g.spectrum()
        return table, spectra


def nebula(level: float, contrast: float = 0.3, tilt: float = 0.0) -> Scene:
    """Return diffuse light over all of the field, the same at all wavelengths.

    Parameters
    ----------
    level : mean flux per nominal spaxel [1e-20 erg/s/cm2/A]; the continuum of the simulated sky is 45
    contrast : of clouds of some 20 arcsec
    tilt : change from the middle to 30 arcsec east
    """
    north, east = np.mgrid[-45:45.1:0.5, -45:45.1:0.5]
    clouds = np.sin(2 * np.pi * east / 41.0 + 1.0) * np.cos(2 * np.pi * north / 33.0 + 0.5)
    image = level * (1.0 + contrast * clouds + tilt * east / 30.0)
    grid = (-45.0, 0.5, -45.0, 0.5, GRID_START, GRID_STEP * GRID_SIZE)
    return Scene(cubes=(SceneCube(image[np.newaxis].astype(np.float32), grid),))


GAS = {
    "H-beta": (4861.33, 1.0), "[O III] 4959": (4958.91, 1.0), "[O III] 5007": (5006.84, 3.0),
    "He I": (5875.62, 0.13), "[N II] 6548": (6548.05, 0.3), "H-alpha": (6562.79, 2.9),
    "[N II] 6583": (6583.45, 0.9), "[S II] 6716": (6716.44, 0.35), "[S II] 6731": (6730.82, 0.3),
    "[Ar III]": (7135.79, 0.12), "[S III]": (9068.6, 0.3),
}  # fmt: skip
"""Lines of ionised gas: wavelength in air [Angstrom], flux over that of H-beta; typical of H II regions."""


def gas(h_beta: float, continuum: float = 0.0, velocity: float = 0.0, width: float = 1.1) -> Scene:
    """Return ionised gas that fills the field, the same everywhere.

    Parameters
    ----------
    h_beta : flux of H-beta per nominal spaxel [1e-20 erg/s/cm2]
    continuum : per nominal spaxel [1e-20 erg/s/cm2/A]
    velocity : [km/s]
    width : standard deviation of the lines as they are seen [A]
    """
    step = 0.25
    lam = np.arange(4600.0, 9400.0, step)
    flux = np.full(lam.size, continuum)
    for wavelength, strength in GAS.values():
        place = wavelength * (1.0 + velocity / 299792.458)
        shape = np.exp(-0.5 * ((lam - place) / width) ** 2) / (width * np.sqrt(2.0 * np.pi))
        flux += h_beta * strength * shape
    cube = np.repeat(flux.astype(np.float32), 9).reshape(-1, 3, 3)
    return Scene(cubes=(SceneCube(cube, (-90.0, 90.0, -90.0, 90.0, lam[0], step)),))


def random_scene(
    rng: np.random.Generator,
    half_size: tuple[float, float],
    *,
    n_stars: int = 6,
    n_galaxies: int = 4,
    lambda_range: tuple[float, float] = (4750.0, 9350.0),
    brightness: float = 1.0,
) -> Scene:
    """Draw a field of stars and emission-line galaxies.

    Parameters
    ----------
    half_size : half extent of the field in xi and eta [arcsec]; sources keep a little distance to its edge
    brightness : factor for all fluxes
    """
    w = max(half_size[0] - 1.0, 0.6 * half_size[0])
    h = max(half_size[1] - 1.0, 0.6 * half_size[1])
    stars = tuple(
        Star(
            xi=float(rng.uniform(-w, w)),
            eta=float(rng.uniform(-h, h)),
            flux=brightness * float(3e3 * 10 ** rng.uniform(0, 1.7)),
            temperature=float(rng.uniform(3200, 9000)),
        )
        for _ in range(n_stars)
    )
    lo, hi = lambda_range
    galaxies = tuple(
        Galaxy(
            xi=float(rng.uniform(-w, w)),
            eta=float(rng.uniform(-h, h)),
            flux=brightness * float(rng.uniform(1e3, 8e3)),
            size=float(rng.uniform(0.6, 2.0)),
            axis_ratio=float(rng.uniform(0.35, 0.95)),
            angle=float(rng.uniform(0, 180)),
            line_flux=brightness * float(rng.uniform(2e4, 2e5)),
            line_wavelength=float(rng.uniform(lo + 0.15 * (hi - lo), hi - 0.15 * (hi - lo))),
            line_sigma=float(rng.uniform(0.5, 2.0)),
            gradient=float(rng.uniform(-1.5, 1.5)),
        )
        for _ in range(n_galaxies)
    )
    return Scene(stars, galaxies)


def gnomonic(ra: npt.ArrayLike, dec: npt.ArrayLike, ra0: float, dec0: float) -> tuple[np.ndarray, np.ndarray]:
    """Tangent-plane coordinates (xi, eta) [arcsec] of positions [deg] seen from a pole [deg]."""
    xi, eta = tangent_plane.project(ra, dec, ra0, dec0)
    return xi * 3600, eta * 3600


def deproject(
    xi: npt.ArrayLike, eta: npt.ArrayLike, ra0: float, dec0: float
) -> tuple[np.ndarray, np.ndarray]:
    """Inverse of `gnomonic`.

    Examples
    --------
    >>> ra, dec = deproject(10.0, -5.0, 150.0, -30.0)
    >>> [round(float(v), 9) for v in gnomonic(ra, dec, 150.0, -30.0)]
    [10.0, -5.0]
    """
    return tangent_plane.deproject(np.asarray(xi, float) / 3600, np.asarray(eta, float) / 3600, ra0, dec0)
