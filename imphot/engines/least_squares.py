# SPDX-License-Identifier: BSD-3-Clause
"""What the engines share of their least-squares fits by lmfit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from imphot.errors import UserError

__all__ = ["hold_parameters", "run_lmfit"]


def hold_parameters(params: Any, fixed: Mapping[str, float | None]) -> None:
    """Fix the parameters for which a value was given."""
    for name, value in fixed.items():
        if value is not None and name in params:
            low, high = params[name].min, params[name].max
            if not low <= value <= high:
                raise UserError(f"fix_{name}={value:g} is outside the allowed range {low:g} to {high:g}")
            params[name].set(value=value, vary=False)


def run_lmfit(
    model: Any,
    data: npt.NDArray[np.float64],
    params: Any,
    weights: npt.NDArray[np.float64] | None = None,
    fit_kws: Mapping[str, Any] | None = None,
    **independent: Any,
) -> Any:
    """Least-squares fit that also accepts a set of parameters without a free one."""
    if any(p.vary for p in params.values()):
        kept_kws = dict(fit_kws or {})
        result = model.fit(
            data, params, weights=weights, method="least_squares", fit_kws=kept_kws, **independent
        )
        for kept in (result, result.result):  # lmfit's refers to the result itself, which would live too long
            kept.call_kws = kept_kws
        return result
    from lmfit.model import ModelResult

    result = ModelResult(model, params, data=data, weights=weights, fcn_kws=independent)
    result.init_fit = result.best_fit = model.eval(params, **independent)
    residual = np.asarray(data) - result.best_fit
    result.residual = residual if weights is None else residual * weights
    result.method = "all parameters held"
    result.nvarys, result.ndata, result.nfev = 0, residual.size, 1
    result.nfree = residual.size
    result.chisqr = float(np.sum(result.residual**2))
    result.redchi = result.chisqr / result.nfree
    result.aic = result.bic = result.rsquared = np.nan
    result.errorbars, result.success, result.aborted, result.message = False, True, False, "nothing to fit"
    result.covar = np.zeros((0, 0))
    result.var_names, result.init_vals, result.init_values = [], [], {}
    result.best_values = {name: p.value for name, p in params.items()}
    for p in result.params.values():
        p.stderr = 0.0
    return result
