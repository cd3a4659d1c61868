# SPDX-License-Identifier: BSD-3-Clause
"""After the fit of the `image` engine: errors, flags and pictures."""

from __future__ import annotations

import logging
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.image.field import Field, bounding_box
from imphot.engines.image.noise import parameter_covariance
from imphot.engines.image.scene import Scene
from imphot.engines.image.search import SEARCH
from imphot.results import FitPictures, FittedImagePhotometry

__all__ = ["FLAGS", "FREE_ORDER", "finish"]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_log = logging.getLogger("imphot")

FREE_ORDER = ("dx", "dy", "bg", "scale", "fwhm", "beta")  # columns of Jacobians and covariances
FLAGS = {
    1: "not converged",
    2: "no significant signal",
    4: "beta at a limit",
    8: "fwhm at a limit",
    16: "offset beyond the searched area",
    32: "residuals far above the noise",
    64: "scale at its lower limit",
}


def finish(
    result: Any, jacobian: Array, scene: Scene, field: Field, usable: Mask
) -> tuple[FittedImagePhotometry, FitPictures]:
    """Turn what the optimiser found into results.

    Parameters
    ----------
    result : lmfit ModelResult
        its parameters receive errors, and lose the bias that HST noise causes
    jacobian : float64[npix, nfree]
        derivatives of (data - model) / sigma on the usable pixels
    """
    params = result.params
    names = [n for n in FREE_ORDER if params[n].vary]
    notes = {}
    limited = [n for n in names if n in ("beta", "fwhm", "scale") and _at_limit(params[n])]
    for name in limited:  # nothing can be said about the error of a parameter that ran into its limit
        jacobian = np.delete(jacobian, names.index(name), axis=1)
        names.remove(name)
        params[name].stderr = float("nan")
    if names:
        budget = parameter_covariance(
            scene.model,
            _point(params, scene),
            params["scale"].value,
            jacobian,
            names,
            _residuals(params, scene, field) / field.sigma,
            usable,
            field.sigma,
            scene.hst_variance,
        )
        _store_errors(result, names, budget.covariance, budget.bias)
        notes = {"noise_inflation": budget.inflation, "hst_noise": budget.hst_sigma}
    final = _residuals(params, scene, field)
    flag = _flag(result, names, scene, field, usable, final)
    rms = float(np.sqrt(np.mean(final[usable] ** 2)))
    fitted = FittedImagePhotometry(
        field.muse, result, rms, engine="image", flag=flag, npix=int(usable.sum()), notes=notes
    )
    for bit, meaning in FLAGS.items():
        if flag & bit:
            _log.warning("%s: %s", fitted.name, meaning)
    return fitted, _pictures(field.data, field.data - final, usable, field.crop)


def _point(params: Any, scene: Scene) -> tuple[float, float, float, float]:
    """Offsets within the scene, width and index."""
    x, y = scene.shift_arcsec
    return params["dx"].value - x, params["dy"].value - y, params["fwhm"].value, params["beta"].value


def _residuals(params: Any, scene: Scene, field: Field) -> Array:
    model = scene.model.image(*_point(params, scene))
    return np.asarray(field.data - params["scale"].value * model - params["bg"].value)


def _store_errors(result: Any, names: list[str], covariance: Array, bias: Array) -> None:
    """Put errors and correlations into the parameters, and take the bias that HST noise causes off them."""
    params = result.params
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    for name, error, shift in zip(names, errors, bias, strict=True):
        if np.isfinite(shift) and abs(shift) < 3.0 * error:
            low, high = params[name].min, params[name].max
            params[name].value = min(max(params[name].value - shift, low), high)
        params[name].stderr = float(error)
    scaled = covariance / np.maximum(np.outer(errors, errors), 1e-300)
    for i, name in enumerate(names):
        params[name].correl = {other: float(scaled[i, j]) for j, other in enumerate(names) if j != i}
    result.covar, result.var_names, result.errorbars = covariance, names, True


def _at_limit(param: Any) -> bool:
    """Is a free parameter at one of its limits?"""
    return bool(param.vary and not 1.001 * param.min < param.value < 0.999 * param.max)


def _flag(result: Any, names: list[str], scene: Scene, field: Field, usable: Mask, final: Array) -> int:
    params = result.params
    flag = 0 if result.success else 1
    scale = params["scale"]
    pinned = _at_limit(scale) and scale.min > 0
    if scale.vary and not pinned and not scale.value > 5.0 * scale.stderr:
        flag |= 2
    flag |= 4 * _at_limit(params["beta"]) + 8 * _at_limit(params["fwhm"]) + 64 * pinned
    if any(n in names for n in ("dx", "dy")) and np.hypot(*_point(params, scene)[:2]) > SEARCH:
        flag |= 16
    if field.muse.var is not None and np.mean((final / field.sigma)[usable] ** 2) > 4.0:
        flag |= 32
    return flag


def _pictures(data: Array, model: Array, usable: Mask, crop: tuple[slice, slice]) -> FitPictures:
    """What is saved and plotted, cut to the pixels that were used."""
    from scipy import fft

    box = bounding_box(usable)
    data, model, usable = data[box], model[box], usable[box]
    rows, columns = (slice(c.start + b.start, c.start + b.stop) for c, b in zip(crop, box, strict=True))
    sizes = [fft.next_fast_len(n, real=True) for n in data.shape]
    padded = sizes[0] + sizes[0] % 2, sizes[1] + sizes[1] % 2
    level = float(np.median(data[usable]))
    transforms = [fft.rfft2(np.where(usable, plane - level, 0.0), padded) for plane in (data, model)]
    shown = [np.where(usable, plane, 0.0) for plane in (data, model)]
    return FitPictures((rows, columns), usable, shown[0], shown[1], transforms[0], transforms[1], padded)
