# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_imphot says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual

MANUAL = Manual(
    {
        "IMAGE_FOV": "One per exposure; IMAGE_FOV or DATACUBE_FINAL is required.",
        "DATACUBE_FINAL": "In place of IMAGE_FOV: collapsed with the curve named by filter (FILTER_LIST).",
        "HST_IMAGE": (
            "Required, unless HST_IMAGE_REGRID is given. Of several the one is taken whose filter fits the "
            "parameter filter, or that of the MUSE image."
        ),
        "HST_IMAGE_REGRID": "In place of HST_IMAGE, for method=fourier: spares the regridding.",
        "FILTER_LIST": "Required for cubes.",
        "IMPHOT_REGIONS": "Needed to leave out pixels, or all others; by default none are left out.",
        "IMPHOT_MASK": "Needed for what no region describes, such as a bright galaxy.",
        "HST_PSF": "Needed where the Moffat function of hst_fwhm and hst_beta is not good enough.",
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
        "regions": (
            ("none", "All of the field is compared, but for what IMPHOT_REGIONS and IMPHOT_MASK leave out."),
            ("star", "Only the circle of the star (star_ra, star_dec, star_radius)."),
            ("notstar", "All but the circle of the star, which may have moved, or be saturated."),
            ("points", "HST sources that are not resolved are left out: stars move, and vary."),
        ),
        "save": (
            ("model", "IMPHOT_MODEL: the HST image as MUSE would have seen it."),
            ("residual", "IMPHOT_RESIDUAL: the MUSE image without that model."),
            ("fft", "IMPHOT_FFT: the moduli of the Fourier transforms of image and model."),
            ("hst", "HST_IMAGE_REGRID: the HST image on the pixels of the MUSE image."),
            ("plot", "IMPHOT_PLOT: a plot of each fit."),
        ),
        "psf": (
            ("auto", "Wings are added to the Moffat function where the residuals ask for them."),
            ("moffat", "The Moffat function alone, in all cases."),
        ),
    },
)
