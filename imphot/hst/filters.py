# SPDX-License-Identifier: BSD-3-Clause
"""Photometric calibration of HST images."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from imphot.errors import UserError
from imphot.images.opening import ImageLike, as_sky_image
from imphot.images.sky_image import SkyImage

__all__ = ["ACS_WFC_FILTERS", "HstFilterInfo", "filter_of"]

_log = logging.getLogger("imphot")

# name: AB zero point, pivot wavelength [A], flux density of 1 e-/s [erg/s/cm2/A], width [A]; ACS/WFC only
ACS_WFC_FILTERS = {
    "F435W": (25.68, 4328.2, 3.11e-19, 298.2),
    "F475W": (26.06, 4746.9, 1.82e-19, 420.2),
    "F555W": (25.72, 5361.0, 1.96e-19, 360.1),
    "F606W": (26.51, 5921.1, 7.73e-20, 672.3),
    "F625W": (25.91, 6311.4, 1.18e-19, 415.4),
    "F775W": (25.69, 7692.4, 9.74e-20, 434.4),
    "F814W": (25.94, 8057.0, 7.05e-20, 652.0),
    "F850LP": (24.87, 9033.1, 1.50e-19, 525.7),
}
_FILTER_KEYS = ("FILTER", "FILTER1", "FILTER2", "FILTNAM1", "FILTNAM2")


class HstFilterInfo:
    """Photometric numbers of the filter of an HST image.

    The keywords PHOTFLAM and PHOTPLAM of the image are used when it has them, else the table of ACS/WFC.

    Parameters
    ----------
    hst : image or str
        an HST image, its file name, or the name of an ACS/WFC filter

    Attributes
    ----------
    filter_name : str
    abmag_zero : float
        AB magnitude of one count per second
    photflam : float
        flux density of one count per second [erg/s/cm2/Angstrom]
    photplam, photbw : float
        pivot wavelength and width [Angstrom]
    source : str
        "header" or "ACS/WFC table"
    """

    def __init__(self, hst: ImageLike) -> None:
        image = None
        if isinstance(hst, str) and hst.strip().upper() in ACS_WFC_FILTERS:
            name = hst.strip().upper()
        elif (
            isinstance(hst, str)
            and not Path(hst).exists()
            and not hst.lower().endswith((".fits", ".fits.gz"))
        ):
            raise UserError(f"Unrecognized filter name ({hst}): known are {', '.join(ACS_WFC_FILTERS)}")
        else:
            image = as_sky_image(hst, "HST")
            name = filter_of(image)
        self.filter_name = name
        photflam = photplam = None
        if image is not None:
            photflam, photplam = (_positive(image.header_value(key)) for key in ("PHOTFLAM", "PHOTPLAM"))
        if image is not None and photflam and photplam:
            self.photflam, self.photplam = photflam, photplam
            self.photbw = _positive(image.header_value("PHOTBW")) or float("nan")
            self.abmag_zero = -2.5 * np.log10(photflam) - 5.0 * np.log10(photplam) - 2.408
            self.source = "header"
            return
        if name not in ACS_WFC_FILTERS:
            raise UserError(
                f"Unrecognized filter ({name}) in HST image header, and no PHOTFLAM and PHOTPLAM keywords: "
                f"add them, or set FILTER to one of {', '.join(ACS_WFC_FILTERS)}"
            )
        instrument = (
            str(image.header_value("INSTRUME", "ACS") if image is not None else "ACS").strip().upper()
        )
        detector = str(image.header_value("DETECTOR", "WFC") if image is not None else "WFC").strip().upper()
        if instrument != "ACS" or (detector and detector not in ("WFC", "WFC1", "WFC2")):
            raise UserError(
                f"The table of filters is for ACS/WFC, this image comes from {instrument} {detector}: "
                "its header needs the keywords PHOTFLAM and PHOTPLAM"
            )
        self.abmag_zero, self.photplam, self.photflam, self.photbw = ACS_WFC_FILTERS[name]
        self.source = "ACS/WFC table"


def filter_of(image: SkyImage) -> str:
    """Name of the filter of an HST image, upper case."""
    for key in _FILTER_KEYS:
        value = image.header_value(key)
        if isinstance(value, str) and value.strip() and not value.strip().upper().startswith("CLEAR"):
            return value.strip().upper()
    raise UserError("No filter name in the HST image header: give it a keyword FILTER")


def _positive(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None
