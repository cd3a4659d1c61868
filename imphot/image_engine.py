# SPDX-License-Identifier: BSD-3-Clause
"""The `image` engine: weighted fit on the MUSE pixels, with a model made from the HST frame as observed.

Masks only drop residuals, so the sources that they cut are modelled whole; noise is weighted by the
variances of the MUSE image; the errors come from the noise that is seen in the residuals, its correlations
and the noise of HST.
"""

from __future__ import annotations

import logging

import numpy as np

from .errors import UserError
from .fourier_engine import hold_parameters, run_lmfit
from .image_noise import parameter_covariance
from .image_scene import point_sources, prepare_scene
from .images import pixel_steps
from .painting import excluded_by_regions, segmentation_mask
from .results import FittedImagePhotometry

__all__ = ["FLAGS", "fit_image_plane"]

_log = logging.getLogger("imphot")

FLAGS = {
    1: "not converged",
    2: "no significant signal",
    4: "beta at a limit",
    8: "fwhm at a limit",
    16: "offset beyond the searched area",
    32: "residuals far above the noise",
    64: "scale at its lower limit",
}
SEARCH = 3.0  # radius in which the first offset is looked for [arcsec]
SEEING = (0.7, 2.5)  # width [arcsec] and index of a typical PSF, where that of the image is not known yet
BETA_LIMITS = (1.05, 50.0)
FWHM_LIMITS = (0.05, 10.0)
MISSING = 0.02  # a MUSE pixel is dropped when more of its light than this comes from where HST has no data
PARAMETERS = ("dx", "dy", "bg", "scale", "fwhm", "beta")


def fit_image_plane(
    hst,
    muse,
    aligned,
    regions,
    star,
    segment,
    extra,
    fixed,
    starts,
    hst_moffat,
    min_scale,
    hst_psf=None,
    mask_points=None,
):
    """Fit one field; see `imphot.fit_image_photometry` for the arguments.

    Returns
    -------
    FittedImagePhotometry, dict
        the results, and the pictures to be saved or plotted
    """
    used = ~(muse.mask | extra | excluded_by_regions(regions, star, muse.wcs, muse.shape))
    if muse.var is not None:
        used &= np.isfinite(muse.var) & (muse.var > 0)
    crop = _bounding_box(used)
    steps = pixel_steps(muse.wcs)
    data = np.where(used, muse.values, 0.0).astype(float)[crop]
    used = used[crop]
    sigma = np.ones(data.shape)
    if muse.var is not None:
        sigma[used] = np.sqrt(muse.var[crop][used].astype(float))
    begin = [
        fixed.get(n) if fixed.get(n) is not None else s for n, s in zip(("dx", "dy"), starts, strict=True)
    ]
    sought = [b is None for b in begin]
    begin = [b or 0.0 for b in begin]

    for _round in range(3):
        shift = tuple(int(np.floor(b / s + 0.5)) for b, s in zip(begin[::-1], steps, strict=True))  # (ny, nx)
        scene = prepare_scene(hst, muse, crop, steps, aligned, shift, hst_moffat, hst_psf)
        usable = used & ~(scene.missing > MISSING)
        if mask_points:
            usable &= ~point_sources(scene, steps, data.shape, float(mask_points))
        _enough(usable, used)
        local = [begin[0] - shift[1] * steps[1], begin[1] - shift[0] * steps[0]]
        if any(sought):
            first = _search_offset(scene.model, data, usable, sigma, steps, local, sought)
            local = [f if s else b for f, s, b in zip(first, sought, local, strict=True)]
            sought = [False, False]
        if segment:  # by the model: pixels chosen by their own noise would have a biased background
            usable &= ~segmentation_mask(scene.model.image(*local, *SEEING), scene.missing > MISSING)
            _enough(usable, used)
        result, jacobian = _solve(scene, data, usable, sigma, local, fixed, steps, min_scale)
        found = [result.params[n].value for n in ("dx", "dy")]
        if max(abs(f - shift[i] * s) for f, i, s in zip(found, (1, 0), steps[::-1], strict=True)) < SEARCH:
            break
        begin = found
    return _finish(result, jacobian, scene, data, usable, sigma, muse, crop, steps)


def _bounding_box(used):
    rows, columns = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
    if rows.size == 0:
        raise UserError(
            "No pixel is left to fit: all are masked, without variance or excluded by the regions. "
            "Check the region file, the extra mask and the STAT extension"
        )
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _enough(usable, used):
    n = int(usable.sum())
    if n == 0:
        raise UserError(
            "The HST image has no data where the MUSE pixels to be fitted are: check the coordinates "
            "of both images and the regions"
        )
    if n < 25:
        raise UserError(
            f"Only {n} pixels are left to fit (of {int(used.sum())} before the HST mask): loosen masks "
            "and regions"
        )


def _linear(m, d, weight, fixed):
    """Scale and background with which the model m fits the data d best, and the chi squared."""
    scale, bg = fixed.get("scale"), fixed.get("bg")
    if scale is None and bg is None:
        s0, s1, s2 = weight.sum(), weight @ m, weight @ (m * m)
        d0, d1 = weight @ d, weight @ (m * d)
        det = s0 * s2 - s1 * s1
        scale = (s0 * d1 - s1 * d0) / det if det > 0 else 1.0
        bg = (d0 - scale * s1) / s0
    elif scale is None:
        scale = (weight @ (m * (d - bg))) / max(weight @ (m * m), 1e-300)
    elif bg is None:
        bg = (weight @ (d - scale * m)) / weight.sum()
    residual = d - scale * m - bg
    return scale, bg, float(weight @ (residual * residual))


def _search_offset(model, data, usable, sigma, steps, local, sought):
    """First guess of the offset: maximum of the weighted cross-correlation within the search radius."""
    from scipy import fft

    weight = np.where(usable, 1.0 / sigma**2, 0.0)
    centred = np.where(usable, data - np.median(data[usable]), 0.0)
    limit = np.percentile(np.abs(centred[usable]), 99.9)
    centred = np.clip(centred, -limit, limit)
    full = np.zeros(model.shape)
    reference = model.plane(0.0, 0.0, *SEEING)
    top = np.percentile(np.abs(reference), 99.9)
    reference = np.clip(reference, -top, top)
    full[model.window] = centred * weight
    mask = np.zeros(model.shape)
    mask[model.window] = weight
    ref_fft = fft.rfft2(reference)
    cross = fft.irfft2(fft.rfft2(full) * np.conj(ref_fft), model.shape)
    mask_fft = np.conj(fft.rfft2(mask))
    total = mask.sum()
    sum1 = fft.irfft2(np.conj(mask_fft) * np.conj(ref_fft), model.shape)
    sum2 = fft.irfft2(np.conj(mask_fft) * np.conj(fft.rfft2(reference**2)), model.shape)
    spread = np.maximum(sum2 - sum1**2 / total, 1e-3 * np.abs(sum2).max())
    gain = (cross - sum1 * full.sum() / total) / np.sqrt(spread)
    y = np.fft.fftfreq(model.shape[0], 1.0 / model.shape[0])[:, None] * steps[0]
    x = np.fft.fftfreq(model.shape[1], 1.0 / model.shape[1])[None, :] * steps[1]
    near = np.hypot(y, x) <= SEARCH
    if not sought[0]:
        near &= np.abs(x - local[0]) <= steps[1]
    if not sought[1]:
        near &= np.abs(y - local[1]) <= steps[0]
    iy, ix = np.unravel_index(np.argmax(np.where(near, gain, -np.inf)), model.shape)
    fy, fx = _vertex(np.roll(gain[:, ix], 1 - iy)), _vertex(np.roll(gain[iy], 1 - ix))
    return float(x[0, ix]) + fx * steps[1], float(y[iy, 0]) + fy * steps[0]


def _vertex(values):
    """Place of the maximum of a parabola through the first three values, counted from the second one."""
    curvature = values[0] - 2.0 * values[1] + values[2]
    return float(np.clip(0.5 * (values[0] - values[2]) / curvature, -0.5, 0.5)) if curvature < 0 else 0.0


def _solve(scene, data, usable, sigma, local, fixed, steps, min_scale):
    """Least squares by lmfit with analytic derivatives; returns its result and the Jacobian at the
    solution.
    """
    from lmfit import Model

    model = scene.model
    d = data[usable]
    weights = 1.0 / sigma[usable]
    square = weights**2
    ny, nx = scene.shift[0] * steps[0], scene.shift[1] * steps[1]

    beta = fixed.get("beta") if fixed.get("beta") is not None else 2.5
    trials = [fixed["fwhm"]] if fixed.get("fwhm") is not None else [0.45, 0.65, 0.9, 1.3]
    starts = []
    for fwhm in trials:
        m = model.image(local[0], local[1], fwhm, beta)[usable]
        scale, bg, chi = _linear(m, d, square, fixed)
        starts.append((chi, fwhm, scale, bg))
    _, fwhm, scale, bg = min(starts)

    def moffat_seen_hst(plane, dx, dy, bg, scale, fwhm, beta):  # noqa: ARG001 - lmfit wants an independent variable
        return scale * model.image(dx - nx, dy - ny, fwhm, beta)[usable] + bg

    def derivatives(params, *_args, **_kwargs):
        p = {name: params[name].value for name in PARAMETERS}
        point = (p["dx"] - nx, p["dy"] - ny, p["fwhm"], p["beta"])
        columns = []
        for name in PARAMETERS:
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

    lm = Model(
        moffat_seen_hst, independent_vars=["plane"], name="HST image seen through a Moffat PSF, MUSE pixels"
    )
    params = lm.make_params(
        dx=local[0] + nx, dy=local[1] + ny, bg=bg, scale=max(scale, min_scale), fwhm=fwhm, beta=beta
    )
    params["scale"].set(min=min_scale)
    params["fwhm"].set(min=FWHM_LIMITS[0], max=FWHM_LIMITS[1])
    params["beta"].set(min=BETA_LIMITS[0], max=BETA_LIMITS[1])
    hold_parameters(params, fixed)
    options = {"jac": derivatives, "x_scale": "jac", "ftol": 1e-9, "xtol": 1e-9, "gtol": 1e-9}
    result = run_lmfit(lm, d, params, weights=weights, fit_kws=options, plane=np.zeros(1))
    return result, -result.jac if result.nvarys else np.zeros((d.size, 0))


def _finish(result, jacobian, scene, data, usable, sigma, muse, crop, steps):
    """Errors, flags and pictures."""
    params = result.params
    names = [n for n in PARAMETERS if params[n].vary]
    shift_x, shift_y = scene.shift[1] * steps[1], scene.shift[0] * steps[0]
    notes = {}

    def point():
        return (
            params["dx"].value - shift_x,
            params["dy"].value - shift_y,
            params["fwhm"].value,
            params["beta"].value,
        )

    def residuals():
        return data - params["scale"].value * scene.model.image(*point()) - params["bg"].value

    limited = [n for n in names if n in ("beta", "fwhm", "scale") and _at_limit(params[n])]
    for name in limited:  # nothing can be said about the error of a parameter that ran into its limit
        jacobian = np.delete(jacobian, names.index(name), axis=1)
        names.remove(name)
        params[name].stderr = float("nan")
    if names:
        budget = parameter_covariance(
            scene.model,
            point(),
            params["scale"].value,
            jacobian,
            names,
            residuals() / sigma,
            usable,
            sigma,
            scene.hst_variance,
        )
        errors = np.sqrt(np.maximum(np.diag(budget.covariance), 0.0))
        for name, error, bias in zip(names, errors, budget.bias, strict=True):
            if np.isfinite(bias) and abs(bias) < 3.0 * error:
                low, high = params[name].min, params[name].max
                params[name].value = min(max(params[name].value - bias, low), high)
            params[name].stderr = float(error)
        scaled = budget.covariance / np.maximum(np.outer(errors, errors), 1e-300)
        for i, name in enumerate(names):
            params[name].correl = {other: float(scaled[i, j]) for j, other in enumerate(names) if j != i}
        result.covar, result.var_names, result.errorbars = budget.covariance, names, True
        notes = {"noise_inflation": budget.inflation, "hst_noise": budget.hst_sigma}
    final = residuals()
    flag = _flag(result, params, names, scene, usable, final, sigma, muse)
    rms = float(np.sqrt(np.mean(final[usable] ** 2)))
    fitted = FittedImagePhotometry(
        muse, result, rms, engine="image", flag=flag, npix=int(usable.sum()), notes=notes
    )
    for bit, meaning in FLAGS.items():
        if flag & bit:
            _log.warning("%s: %s", fitted.name, meaning)
    return fitted, _pictures(data, data - final, usable, crop)


def _at_limit(param):
    """Is a free parameter at one of its limits?"""
    return bool(param.vary and not 1.001 * param.min < param.value < 0.999 * param.max)


def _flag(result, params, names, scene, usable, final, sigma, muse):
    flag = 0 if result.success else 1
    scale = params["scale"]
    pinned = _at_limit(scale) and scale.min > 0
    if scale.vary and not pinned and not scale.value > 5.0 * scale.stderr:
        flag |= 2
    flag |= 4 * _at_limit(params["beta"]) + 8 * _at_limit(params["fwhm"]) + 64 * pinned
    steps = scene.model.steps
    if any(n in names for n in ("dx", "dy")):
        moved = params["dx"].value - scene.shift[1] * steps[1], params["dy"].value - scene.shift[0] * steps[0]
        if np.hypot(*moved) > SEARCH:
            flag |= 16
    if muse.var is not None and np.mean((final / sigma)[usable] ** 2) > 4.0:
        flag |= 32
    return flag


def _pictures(data, model, usable, crop):
    """What is saved and plotted, cut to the pixels that were used."""
    from scipy import fft

    box = _bounding_box(usable)
    data, model, usable = data[box], model[box], usable[box]
    crop = tuple(slice(c.start + b.start, c.start + b.stop) for c, b in zip(crop, box, strict=True))
    padded = tuple(fft.next_fast_len(n, real=True) for n in data.shape)
    padded = tuple(n + n % 2 for n in padded)
    muse = np.where(usable, data, 0.0)
    level = float(np.median(data[usable]))
    transforms = [fft.rfft2(np.where(usable, plane - level, 0.0), padded) for plane in (data, model)]
    return {
        "crop": crop,
        "used": usable,
        "muse": muse,
        "model": np.where(usable, model, 0.0),
        "muse_fft": transforms[0],
        "model_fft": transforms[1],
        "padded_shape": padded,
    }
