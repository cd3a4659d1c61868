# SPDX-License-Identifier: BSD-3-Clause
"""Photometry, alignment and PSF of MUSE images from a comparison with HST images of the same sky.

Every public name is loaded when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib

_WHERE = {
    "UserError": "errors",
    "WorkerError": "errors",
    "fit_image_photometry": "fitimage",
    "fit_star_photometry": "fitstar",
    "fit_image_and_star_photometry": "fitboth",
    "FitImagePhotometryMP": "workers",
    "FitStarPhotometryMP": "workers",
    "FitImageAndStarPhotometryMP": "workers",
    "FittedValue": "results",
    "FittedPhotometry": "results",
    "FittedImagePhotometry": "results",
    "FittedStarPhotometry": "results",
    "HstFilterInfo": "hstfilters",
    "rescale_hst_like_muse": "regrid",
    "regrid_hst_like_muse": "regrid",
    "image_grids_aligned": "grids",
    "apply_corrections": "corrections",
    "bandpass_image": "bandpass",
    "ImphotArgumentParser": "cli",
    "extract_function_args": "cli",
    "fit_photometry_main": "cli",
    "regrid_hst_to_muse_main": "cli",
    "make_wideband_image_main": "cli",
    "FIT_IMAGE": "cli",
    "FIT_STAR": "cli",
    "FIT_BOTH": "cli",
    "SkyImage": "images",
}
_MODULES = ("ds9regions", "product_images", "recipe_steps")

__all__ = sorted([*_WHERE, "ds9regions"])


def __getattr__(name):
    if name in _WHERE:
        value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *__all__})
