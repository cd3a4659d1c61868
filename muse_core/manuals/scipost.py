# SPDX-License-Identifier: BSD-3-Clause
"""What the manual page of muse_scipost says of its inputs, and of the values of its parameters."""

from __future__ import annotations

from muse_core.framework.spec import Manual
from muse_core.manuals import shared

INPUTS = {
    "PIXTABLE_OBJECT": (
        "Required: one per IFU and exposure, from muse_scibasic, or merged ones. A PIXTABLE_REDUCED can be "
        "given again; what was done to it is not repeated."
    ),
    "EXTINCT_TABLE": (
        "For the flux calibration: without it fluxes are not corrected for extinction (a warning)."
    ),
    "STD_RESPONSE": (
        "For the flux calibration, from muse_standard: without it the products hold counts, not fluxes (a "
        "warning)."
    ),
    "STD_TELLURIC": (
        "Divides out the absorption bands of the atmosphere; without it they stay in the data (a warning)."
    ),
    "ASTROMETRY_WCS": (
        "From muse_astrometry. Without it the field is put on the sky with the nominal scale, without "
        "distortion."
    ),
    "OFFSET_LIST": (
        "Needed to combine exposures: from muse_exp_align or muse_imphot. Without it the pointings in the "
        "headers are believed, which are good to an arcsecond or so."
    ),
    "FILTER_LIST": "Needed for all filters but white.",
    "OUTPUT_WCS": (
        "A cube, an image or a header alone, for a cube on the grid of another one; by default the grid fits "
        "the data."
    ),
    "AUTOCAL_FACTORS": (
        "Required with autocalib=user: what autocalib=deepfield made of other exposures. Not used else."
    ),
    "RAMAN_LINES": (
        "For exposures with the lasers on (AO modes): without it their Raman light stays in the data."
    ),
    "SKY_LINES": (
        "Required with skymethod=model and subtract-model. With model the fluxes are first guesses."
    ),
    "SKY_CONTINUUM": (
        "Required with skymethod=subtract-model. With model it is taken in place of the continuum that is "
        "made from the exposure."
    ),
    "LSF_PROFILE": (
        "Required with skymethod=model and subtract-model, and with RAMAN_LINES; from muse_lsf, one per IFU "
        "or merged."
    ),
    "SKY_MASK": (
        "Needed where the object fills the field, with skymethod=model and simple and with "
        "autocalib=deepfield: by default all that looks like sky is taken for it. A run that finds no empty "
        "sky says so (ESO QC SCIPOST SKY EMPTY)."
    ),
}

VALUES = {
    **shared.VALUES,
    "save": (
        ("cube", "DATACUBE_FINAL, and an IMAGE_FOV for every filter."),
        ("autocal", "AUTOCAL_MASK and AUTOCAL_FACTORS of each exposure (autocalib=deepfield)."),
        ("raman", "RAMAN_IMAGES of each exposure."),
        ("skymodel", "SKY_IMAGE, SKY_MASK, SKY_SPECTRUM, SKY_LINES and SKY_CONTINUUM of each exposure."),
        ("individual", "PIXTABLE_REDUCED: the reduced pixel table of each exposure."),
        ("positioned", "PIXTABLE_POSITIONED: the same in right ascension and declination."),
        ("combined", "PIXTABLE_COMBINED: all exposures in one table."),
        ("stacked", "OBJECT_RESAMPLED: all slices side by side in one image."),
    ),
    "resample": (
        ("nearest", "A voxel takes the value of the nearest row: quick, with gaps where rows are few."),
        ("linear", "Rows near the voxel, weighted with the inverse of their distance."),
        ("quadratic", "The same with the inverse square of the distance."),
        ("renka", "Modified Shepard weights within the critical radius rc."),
        (
            "drizzle",
            "Rows are dropped as shrunken pixels (pixfrac) and weighted by their overlap with the voxel.",
        ),
        ("lanczos", "Lanczos kernel of size ld: sharp, but rings beside what is narrow."),
    ),
    "crtype": (
        (
            "iraf",
            "The mean of the values near by; the noise is that expected from their variances, and more "
            "where the image varies.",
        ),
        ("mean", "Mean and standard deviation of the values near by, without the value that is judged."),
        (
            "median",
            "The median of the values near by; the noise is that expected from their variances, and more "
            "where their median deviation tells that the image varies.",
        ),
    ),
    "format": (
        ("Cube", "DATA, STAT (and DQ) as cubes."),
        ("Euro3D", "A table of spectra."),
        ("xCube", "Cube, with the images of the filters in the same file."),
        ("xEuro3D", "Euro3D, with the images in the same file."),
        ("sdpCube", "Cube, with the keywords of ESO's Phase 3."),
    ),
    "weight": (
        ("exptime", "By exposure time."),
        ("fwhm", "By exposure time and the seeing in the headers."),
        ("none", "All exposures alike."),
    ),
    "skymethod": (
        (
            "none",
            "No sky is subtracted: for data whose sky is subtracted already, or to keep it for a method of "
            "your own.",
        ),
        (
            "subtract-model",
            "The given SKY_LINES and SKY_CONTINUUM are subtracted as they are, with the line profile of each "
            "slice: where an object fills the field, with the model of a sky exposure near in time "
            "(muse_create_sky).",
        ),
        (
            "model",
            "The sky is found in the exposure itself (skymodel_fraction, skymodel_ignore, SKY_MASK). The "
            "fluxes of the groups of SKY_LINES are fitted to its spectrum, and lines, with the line profile "
            "of each slice (LSF_PROFILE), and continuum are subtracted. The usual choice.",
        ),
        (
            "simple",
            "The mean spectrum of the sky in the exposure is subtracted from all rows. Needs neither "
            "SKY_LINES nor LSF_PROFILE, and leaves more of the lines where slices have different profiles.",
        ),
    ),
    "autocalib": (
        ("none", "Slices stay as they are."),
        (
            "deepfield",
            "The slices are brought to one level of the sky, in ranges of wavelength, where that helps on "
            "detector columns that took no part in it: for fields that are mostly empty, or with a SKY_MASK.",
        ),
        ("user", "The factors of AUTOCAL_FACTORS are applied."),
    ),
    "sky_refine": (
        (
            "auto",
            "As true, but in the compatible mode and where a nebula or a galaxy fills the field, whose light "
            "is then in what passes for sky.",
        ),
        (
            "true",
            "Slices are corrected where detector columns that took no part in it get better, and a quarter "
            "of the slices of their IFU ask for it.",
        ),
        ("false", "What a mean sky leaves in the slices stays there, as in the C recipe."),
    ),
    "darcheck": (
        ("none", "The refraction is computed from the weather in the headers, and believed."),
        ("check", "Sources are followed through wavelength; by how much they still move is a QC keyword."),
        ("correct", "The same, and that is corrected, too."),
    ),
    "rvcorr": (
        ("bary", "Barycentre of the solar system."),
        ("helio", "Centre of the Sun."),
        ("geo", "Centre of the Earth."),
        ("none", "As observed."),
    ),
}

MANUAL = Manual(
    INPUTS,
    VALUES,
    (
        (
            "MUSE_RECIPES_CLUSTER",
            "Address, or file, of a Dask scheduler whose workers make the passes over the rows.",
        ),
    ),
)
