# SPDX-License-Identifier: BSD-3-Clause
"""fit_image_and_star_photometry: both fits of one pair of images."""

from __future__ import annotations

from .fitimage import fit_image_photometry
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
    hst, muse = load_pair(hst, muse)
    image = fit_image_photometry(
        hst,
        muse,
        regions=regions,
        fix_scale=fix_scale,
        fix_bg=fix_bg,
        fix_dx=fix_dx,
        fix_dy=fix_dy,
        fix_fwhm=fix_fwhm,
        fix_beta=fix_beta,
        min_scale=min_scale,
        hst_fwhm=hst_fwhm,
        hst_beta=hst_beta,
        margin=margin,
        segment=segment,
        display=display,
        nowait=nowait,
        hardcopy=hardcopy,
        title=title,
        star=star,
        save=save,
        fig=fig,
        taper=taper,
        apply=apply,
        resample=resample,
        extramask=extramask,
        init_dx=init_dx,
        init_dy=init_dy,
        method=method,
    )
    stars = fit_star_photometry(
        hst,
        muse,
        star,
        fix_fwhm=fix_fwhm,
        fix_beta=fix_beta,
        display=display,
        nowait=nowait,
        hardcopy=hardcopy,
        title=title,
        fig=fig,
        method=method,
    )
    return image, stars
