# SPDX-License-Identifier: BSD-3-Clause
"""fit_image_and_star_photometry: both fits of one pair of images."""

from __future__ import annotations

from .fitimage import arguments_of, fit_image_photometry
from .fitstar import fit_star_photometry
from .painting import load_pair

__all__ = ["fit_image_and_star_photometry"]


def fit_image_and_star_photometry(
    hst,
    muse,
    star,
    regions="star",
    fix_scale=None,
    fix_bg=None,
    fix_dx=None,
    fix_dy=None,
    fix_fwhm=None,
    fix_beta=None,
    hst_fwhm=0.085,
    hst_beta=1.6,
    margin=2.0,
    segment=False,
    display=False,
    nowait=False,
    hardcopy=None,
    title=None,
    save=False,
    fig=None,
    taper=9,
    apply=False,
    resample=False,
    extramask=None,
    min_scale=0,
    init_dx=None,
    init_dy=None,
    method=None,
):
    """Run `fit_image_photometry` and `fit_star_photometry` on the same images.

    The arguments are those of the two functions; apply writes the image corrected by the image fit.

    Returns
    -------
    (FittedImagePhotometry, FittedStarPhotometry)
    """
    given = dict(locals())  # all arguments, and nothing else yet
    given["hst"], given["muse"] = load_pair(hst, muse)
    image = fit_image_photometry(**given)
    stars = fit_star_photometry(**arguments_of(fit_star_photometry, given) | {"apply": False})
    return image, stars
