# SPDX-License-Identifier: BSD-3-Clause
"""After the fit of the `image` engine: errors, flags and pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from imphot.engines.image.checks import (
    BRIGHT,
    DISTORTION,
    LINEAR,
    MATTERS,
    MATTERS_IN_FLUX,
    SLOPE,
    chi_squared,
    columns_of,
    disagreement,
    displacement,
    limit,
    shape_is_another,
)
from imphot.engines.image.field import Field, bounding_box
from imphot.engines.image.noise import NoiseMatrices, Point, noise_matrices
from imphot.engines.image.scene import Scene
from imphot.engines.image.search import SEARCH
from imphot.results import FitPictures, FittedImagePhotometry

__all__ = ["FLAGS", "FREE_ORDER", "Judgement", "finish", "judge"]

Array: TypeAlias = npt.NDArray[np.float64]
Mask: TypeAlias = npt.NDArray[np.bool_]

_log = logging.getLogger("imphot")

FREE_ORDER = (
    "dx",
    "dy",
    "bg",
    "scale",
    "fwhm",
    "beta",
    "wing",
    "turbulence",
)  # columns of Jacobians and covariances
ALIKE = {name: name.split("_")[0] for name in (*DISTORTION, *SLOPE)}  # dx_by_x: dx, and so on
FAINT = 1.0  # sigma; a pixel with less light of sources than this shows the noise
FLAGS = {
    1: "not converged",
    2: "no significant signal",
    4: "beta at a limit",
    8: "fwhm at a limit",
    16: "offset beyond the searched area",
    32: "residuals far above the noise",
    64: "scale at its lower limit",
    128: "the PSF is not the assumed Moffat function",
    256: "the images are distorted against each other",
    512: "sources differ in flux scale (colours, variable stars)",
    1024: "sources differ in position (moving stars, local distortion)",
}


@dataclass
class Judgement:
    """What the residuals of a fit say of it.

    Parameters
    ----------
    result : lmfit ModelResult
    jacobian : float64[npix, n]
        derivatives of model / sigma by all of ``noise.names``
    noise : NoiseMatrices
    names : free parameters that are not at a limit
    shape : parts of the PSF, of "wing" and "turbulence", that the residuals ask for
    linear : further effects that are clearly there, and small enough to be solved for: names of `DISTORTION`
        and `SLOPE`
    distorted : the images are distorted against each other
    """

    result: Any
    jacobian: Array
    noise: NoiseMatrices | None
    names: list[str]
    shape: tuple[str, ...] = ()
    linear: tuple[str, ...] = ()
    distorted: bool = False


def judge(result: Any, jacobian: Array, scene: Scene, field: Field, usable: Mask) -> Judgement:
    """Look for what the model leaves out.

    Parameters
    ----------
    result : lmfit ModelResult
    jacobian : float64[npix, nfree]
        derivatives of model / sigma on the usable pixels
    """
    params = result.params
    names = [n for n in FREE_ORDER if n in params and params[n].vary]
    for name in [n for n in names if _at_limit(params[n])]:
        jacobian = np.delete(jacobian, names.index(name), axis=1)
        names.remove(name)
    if not names or not {"dx", "dy", "bg"} <= set(names):
        noise = _noise(result, jacobian, names, scene, field, usable) if names else None
        return Judgement(result, jacobian, noise, names)
    parts = tuple(n for n in ("wing", "turbulence") if n not in params)
    point, scale = _point(params, scene), params["scale"].value
    shapes = [scale * scene.model.derivative(n, *point)[usable] / field.sigma[usable] for n in parts]
    linear = DISTORTION + SLOPE
    by_x, by_y = (jacobian[:, names.index(n)] for n in ("dx", "dy"))
    more = columns_of(linear, by_x, by_y, field, usable)
    everything = np.column_stack([jacobian, *shapes, more])
    noise = _noise(result, everything, [*names, *parts, *linear], scene, field, usable, ALIKE)
    residual = (_residuals(params, scene, field) / field.sigma)[usable]
    step = noise.step(noise.names, everything.T @ residual)
    covariance = noise.budget(noise.names).covariance
    there: dict[tuple[str, ...], bool] = {
        group: chi_squared(step, covariance, [noise.names.index(n) for n in group]) > limit(len(group))
        for group in (DISTORTION, SLOPE)
    }
    there[parts] = bool(parts) and shape_is_another(step, covariance, [noise.names.index(n) for n in parts])
    moved = displacement([step[noise.names.index(n)] for n in DISTORTION], field, usable)
    there[DISTORTION] = there[DISTORTION] and moved > MATTERS
    linear_ones: tuple[str, ...] = DISTORTION if there[DISTORTION] and moved < LINEAR else ()
    linear_ones += SLOPE if there[SLOPE] else ()
    return Judgement(
        result,
        everything,
        noise,
        names,
        parts if there[parts] else (),
        linear_ones,
        there[DISTORTION],
    )


def _noise(
    result: Any,
    jacobian: Array,
    names: list[str],
    scene: Scene,
    field: Field,
    usable: Mask,
    like: Mapping[str, str] | None = None,
) -> NoiseMatrices:
    params = result.params
    return noise_matrices(
        scene.model,
        _point(params, scene),
        params["scale"].value,
        jacobian,
        names,
        _residuals(params, scene, field) / field.sigma,
        usable,
        field.sigma,
        scene.hst_variance,
        like,
    )


def finish(
    judgement: Judgement, scene: Scene, field: Field, usable: Mask
) -> tuple[FittedImagePhotometry, FitPictures]:
    """Turn what the optimiser found into results, with what the judgement says of them.

    The parameters receive errors, and lose the bias that HST noise causes; distortions and slopes that are
    there are solved for together with them.
    """
    result, names = judgement.result, judgement.names
    params = result.params
    notes: dict[str, float] = {}
    for name in [n for n in FREE_ORDER if n in params and _at_limit(params[n])]:
        params[name].stderr = float("nan")  # nothing can be said about one that ran into its limit
    further, apart = np.zeros(field.data.shape), 0
    if judgement.noise is not None:
        noise, linear = judgement.noise, list(judgement.linear)
        columns = judgement.jacobian[:, [noise.names.index(n) for n in [*names, *linear]]]
        if linear:
            residual = (_residuals(params, scene, field) / field.sigma)[usable]
            step = noise.step([*names, *linear], judgement.jacobian.T @ residual)
            _move(params, names, step[: len(names)])
            further[usable] = columns[:, len(names) :] @ step[len(names) :] * field.sigma[usable]
            notes |= dict(zip(linear, step[len(names) :].tolist(), strict=True))
        budget = noise.budget([*names, *linear])
        covariance = budget.covariance[: len(names), : len(names)]
        left = ((_residuals(params, scene, field) - further) / field.sigma)[usable]
        light = params["scale"].value * (scene.model.image(*_point(params, scene)) - scene.level)
        apart = _compare_sources(names, columns, left, light, params, covariance, field, usable, notes)
        _store_errors(result, names, covariance, budget.bias[: len(names)])
        notes |= {"noise_inflation": budget.inflation, "hst_noise": budget.hst_sigma}
    final = _residuals(params, scene, field) - further
    flag = _flag(result, names, scene, field, usable, final) | apart
    flag |= 128 * bool(judgement.shape or "wing" in params)
    flag |= 256 * judgement.distorted
    notes |= {n: float(params[n].value) for n in ("wing", "turbulence") if n in params and params[n].vary}
    rms = float(np.sqrt(np.mean(final[usable] ** 2)))
    fitted = FittedImagePhotometry(
        field.muse, result, rms, engine="image", flag=flag, npix=int(usable.sum()), notes=notes
    )
    for bit, meaning in FLAGS.items():
        if flag & bit:
            _log.warning("%s: %s", fitted.name, meaning)
    return fitted, _pictures(field.data, field.data - final, usable, field.crop)


def _compare_sources(
    names: list[str],
    columns: Array,
    residual: Array,
    light: Array,
    params: Any,
    covariance: Array,
    field: Field,
    usable: Mask,
    notes: dict[str, float],
) -> int:
    """Flags for sources that differ in flux or place; their scatter goes into the covariance."""
    flag = 0
    # what sources add to the residuals must not count as noise when they are compared with each other
    faint = (light < FAINT * field.sigma)[usable]
    quiet = 1.0
    if faint.sum() > 500:
        quiet = min(float(np.sqrt(np.mean(residual[faint] ** 2) / np.mean(residual**2))), 1.0)
    scale = abs(params["scale"].value)
    precision = {"scale": scale / BRIGHT, "dx": 0.05, "dy": 0.05}
    matters = {"scale": scale * MATTERS_IN_FLUX, "dx": MATTERS, "dy": MATTERS}
    for name, bit in (("scale", 512), ("dx", 1024), ("dy", 1024)):
        if name not in names:
            continue
        i = names.index(name)
        error = float(np.sqrt(max(covariance[i, i], 0.0)))
        found = disagreement(
            columns[:, i], residual, light, field.sigma, usable, error * quiet, precision[name], matters[name]
        )
        if found.scatter > 0:
            flag |= bit
            factor = np.sqrt(1.0 + found.extra_variance / max(covariance[i, i], 1e-300))
            covariance[i] *= factor
            covariance[:, i] *= factor
            notes[f"{name}_scatter"] = found.scatter
    return flag


def _point(params: Any, scene: Scene) -> Point:
    """Offsets within the scene, width, index, wing and core."""
    x, y = scene.shift_arcsec
    wing, turbulence = (params[n].value if n in params else 0.0 for n in ("wing", "turbulence"))
    return (
        params["dx"].value - x,
        params["dy"].value - y,
        params["fwhm"].value,
        params["beta"].value,
        wing,
        turbulence,
    )


def _residuals(params: Any, scene: Scene, field: Field) -> Array:
    model = scene.model.image(*_point(params, scene))
    return np.asarray(field.data - params["scale"].value * model - params["bg"].value)


def _move(params: Any, names: list[str], step: Array) -> None:
    """Change parameters within their limits."""
    for name, change in zip(names, step, strict=True):
        low, high = params[name].min, params[name].max
        params[name].value = min(max(params[name].value + change, low), high)


def _store_errors(result: Any, names: list[str], covariance: Array, bias: Array) -> None:
    """Put errors and correlations into the parameters, and take the bias that HST noise causes off them."""
    params = result.params
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    small = np.isfinite(bias) & (np.abs(bias) < 3.0 * errors)
    _move(params, names, np.where(small, -bias, 0.0))
    for name, error in zip(names, errors, strict=True):
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
    # where wing and turbulence make up the PSF the index of what is left of the Moffat says nothing
    flag |= 4 * (_at_limit(params["beta"]) and "wing" not in params)
    flag |= 8 * _at_limit(params["fwhm"]) + 64 * pinned
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
