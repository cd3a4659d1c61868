# SPDX-License-Identifier: BSD-3-Clause
"""The `image` engine: weighted fit on the MUSE pixels, with a model made from the HST frame as observed.

Masks only drop residuals, so the sources that they cut are modelled whole; noise is weighted by the
variances of the MUSE image; the errors come from the noise that is seen in the residuals, its correlations
and the noise of HST.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.image.field import Field, check_enough, read_field
from imphot.engines.image.scene import Scene, point_sources, prepare_scene
from imphot.engines.image.search import SEARCH, SEEING, scale_and_background, search_offset
from imphot.engines.image.verdict import FREE_ORDER, Judgement, finish, judge
from imphot.engines.least_squares import hold_parameters, run_lmfit
from imphot.images.masks import segmentation_mask
from imphot.images.sky_image import SkyImage
from imphot.options import FitOptions
from imphot.results import FitPictures, FittedImagePhotometry

__all__ = ["fit_image_plane"]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

BETA_LIMITS = (1.05, 50.0)
FWHM_LIMITS = (0.05, 10.0)
SHAPE_LIMITS = (0.0, 1.0)  # of the parts of wing and core
WIDTHS = (0.45, 0.65, 0.9, 1.3)  # first guesses of the width that are tried [arcsec]
MISSING = 0.02  # a MUSE pixel is dropped when more of its light than this comes from where HST has no data
ROUNDS = 3  # one fit, and two more when the offset leads out of the area that was searched


def fit_image_plane(
    hst: SkyImage, muse: SkyImage, aligned: bool, extra: Mask, options: FitOptions
) -> tuple[FittedImagePhotometry, FitPictures]:
    """Fit one field.

    Parameters
    ----------
    hst, muse : SkyImage
    aligned : bool
        the HST image lies on the MUSE pixels already, in the MUSE unit and low-passed
    extra : bool[ny, nx]
        further MUSE pixels to leave out
    options : FitOptions

    Returns
    -------
    FittedImagePhotometry, FitPictures
        the results, and the pictures to be saved or plotted
    """
    field = read_field(muse, extra, options)
    steps = field.steps
    sought = [start is None for start in options.starts]
    begin = [start or 0.0 for start in options.starts]
    for _round in range(ROUNDS):
        ny, nx = (int(np.floor(b / s + 0.5)) for b, s in zip(begin[::-1], steps, strict=True))
        scene = prepare_scene(hst, field, aligned, (ny, nx), options)
        usable = field.used & ~(scene.missing > MISSING)
        if options.mask_points:
            usable &= ~point_sources(scene, steps, field.data.shape, options.mask_points)
        check_enough(usable, field.used)
        local = [b - s for b, s in zip(begin, scene.shift_arcsec, strict=True)]
        if any(sought):
            first = search_offset(scene.model, field.data, usable, field.sigma, local, sought)
            local = [f if s else b for f, s, b in zip(first, sought, local, strict=True)]
            sought = [False, False]
        if options.segment:  # by the model: pixels chosen by their own noise would have a biased background
            usable &= ~segmentation_mask(
                scene.model.image(local[0], local[1], *SEEING), scene.missing > MISSING
            )
            check_enough(usable, field.used)
        result, jacobian = _solve(scene, field, usable, local, options)
        found = [result.params[n].value for n in ("dx", "dy")]
        if max(abs(f - s) for f, s in zip(found, scene.shift_arcsec, strict=True)) < SEARCH:
            break
        begin = found
    judgement = judge(result, jacobian, scene, field, usable)
    if judgement.shape and options.psf == "auto":
        result, judgement = _with_shape(result, judgement, scene, field, usable, options)
    return finish(judgement, scene, field, usable)


def _with_shape(
    result: Any, judgement: Judgement, scene: Scene, field: Field, usable: Mask, options: FitOptions
) -> tuple[Any, Judgement]:
    """The fit once more with parts of a wing and a core in the PSF, if that converges."""
    local = [result.params[n].value - s for n, s in zip(("dx", "dy"), scene.shift_arcsec, strict=True)]
    again, jacobian = _solve(scene, field, usable, local, options, judgement.shape)
    if not again.success or not again.chisqr < result.chisqr:
        return result, judgement
    return again, judge(again, jacobian, scene, field, usable)


def _solve(
    scene: Scene,
    field: Field,
    usable: Mask,
    local: list[float],
    options: FitOptions,
    shape: tuple[str, ...] = (),
) -> tuple[Any, Array]:
    """Least squares by lmfit with analytic derivatives: its result, and the Jacobian at the solution."""
    from lmfit import Model

    model, held = scene.model, options.held
    d = field.data[usable]
    weights = 1.0 / field.sigma[usable]
    x, y = scene.shift_arcsec
    beta = 2.5 if held["beta"] is None else held["beta"]
    starts = []
    for fwhm in WIDTHS if held["fwhm"] is None else (held["fwhm"],):
        m = model.image(local[0], local[1], fwhm, beta)[usable]
        scale, bg, chi = scale_and_background(m, d, weights**2, held)
        starts.append((chi, fwhm, scale, bg))
    _, fwhm, scale, bg = min(starts)

    def moffat_seen_hst(
        plane: Array,  # noqa: ARG001 - lmfit wants an independent variable
        dx: float,
        dy: float,
        bg: float,
        scale: float,
        fwhm: float,
        beta: float,
    ) -> Array:
        return scale * model.image(dx - x, dy - y, fwhm, beta)[usable] + bg

    def sum_seen_hst(
        plane: Array,  # noqa: ARG001
        dx: float,
        dy: float,
        bg: float,
        scale: float,
        fwhm: float,
        beta: float,
        wing: float,
        turbulence: float,
    ) -> Array:
        return scale * model.image(dx - x, dy - y, fwhm, beta, wing, turbulence)[usable] + bg

    def derivatives(params: Any, *_args: Any, **_kwargs: Any) -> Array:
        p = {name: params[name].value for name in FREE_ORDER if name in params}
        point = (p["dx"] - x, p["dy"] - y, p["fwhm"], p["beta"], p.get("wing", 0.0), p.get("turbulence", 0.0))
        columns = []
        for name in p:
            if not params[name].vary:
                continue
            if name == "bg":
                column = np.ones(d.size)
            elif name == "scale":
                column = model.image(*point)[usable]
            else:
                column = p["scale"] * model.derivative(name, *point)[usable]
            columns.append(-column * weights)
        return np.array(columns).T

    function, what = (sum_seen_hst, "sum of Moffats as PSF") if shape else (moffat_seen_hst, "Moffat PSF")
    lm = Model(function, independent_vars=["plane"], name=f"HST image seen through a {what}, MUSE pixels")
    starts_of_all = {"dx": local[0] + x, "dy": local[1] + y, "bg": bg, "fwhm": fwhm, "beta": beta}
    starts_of_all |= {"scale": max(scale, options.min_scale)} | (
        {"wing": 0.05, "turbulence": 0.05} if shape else {}
    )
    params = lm.make_params(**starts_of_all)
    for name in ("wing", "turbulence") if shape else ():
        params[name].set(min=SHAPE_LIMITS[0], max=SHAPE_LIMITS[1], vary=name in shape)
    params["scale"].set(min=options.min_scale)
    params["fwhm"].set(min=FWHM_LIMITS[0], max=FWHM_LIMITS[1])
    params["beta"].set(min=BETA_LIMITS[0], max=BETA_LIMITS[1])
    hold_parameters(params, held)
    settings = {"jac": derivatives, "x_scale": "jac", "ftol": 1e-9, "xtol": 1e-9, "gtol": 1e-9}
    result = run_lmfit(lm, d, params, weights=weights, fit_kws=settings, plane=np.zeros(1))
    return result, -result.jac if result.nvarys else np.zeros((d.size, 0))
