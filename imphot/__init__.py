# SPDX-License-Identifier: BSD-3-Clause
"""Photometry, alignment and PSF of MUSE images from a comparison with HST images of the same sky.

Every public name is loaded when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

from muse_core.version import __version__

_WHERE = {
    "UserError": "errors",
    "WorkerError": "errors",
    "fit_image_photometry": "fitting",
    "fit_star_photometry": "fitting",
    "fit_image_and_star_photometry": "fitting",
    "FitImagePhotometryMP": "many_images",
    "FitStarPhotometryMP": "many_images",
    "FitImageAndStarPhotometryMP": "many_images",
    "FittedValue": "results",
    "FittedPhotometry": "results",
    "FittedImagePhotometry": "results",
    "FittedStarPhotometry": "results",
    "FitOptions": "options",
    "HstFilterInfo": "hst.filters",
    "rescale_hst_like_muse": "hst.regridding",
    "regrid_hst_like_muse": "hst.regridding",
    "bandpass_image": "hst.bandpass",
    "image_grids_aligned": "images.grids",
    "apply_corrections": "images.corrections",
    "SkyImage": "images.sky_image",
    "ImphotArgumentParser": "cli",
    "extract_function_args": "cli",
    "fit_photometry_main": "cli",
    "regrid_hst_to_muse_main": "cli",
    "make_wideband_image_main": "cli",
    "FIT_IMAGE": "cli",
    "FIT_STAR": "cli",
    "FIT_BOTH": "cli",
}

__all__ = ["__version__", "ds9regions", *sorted(_WHERE)]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
        globals()[name] = value
        return value
    if name == "ds9regions":
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
