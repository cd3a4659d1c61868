# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_imphot says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual

MANUAL = Manual(
    {
        "IMAGE_FOV": "One per exposure; IMAGE_FOV or DATACUBE_FINAL is required.",
        "DATACUBE_FINAL": "Collapsed with the curve of the parameter filter, see FILTER_LIST.",
        "HST_IMAGE": (
            "Required, unless HST_IMAGE_REGRID is given. Of several the one is taken whose filter fits the "
            "parameter filter, or that of the MUSE image."
        ),
        "HST_IMAGE_REGRID": "In place of HST_IMAGE, for method=fourier: spares the regridding.",
        "FILTER_LIST": "Required for cubes.",
        "IMPHOT_REGIONS": "Restricts the fit to, or leaves out, the regions (parameter regions).",
        "IMPHOT_MASK": "For what no region describes, such as a bright galaxy.",
        "HST_PSF": "Where the Moffat of hst_fwhm and hst_beta is not good enough.",
    },
    {
        "method": (
            (
                "image",
                "A model made from the HST image as distributed is fitted on the MUSE pixels, weighted by "
                "their variances. This is the default of the recipe. (The default of the command "
                "fit_photometry is fourier, as it has always been.)",
            ),
            ("fourier", "The way of the existing imphot package: the comparison of Fourier transforms."),
            ("star", "One star alone is compared (star_ra, star_dec, star_radius)."),
            ("both", "image and star, a row of the table each."),
        ),
    },
)
