# SPDX-License-Identifier: BSD-3-Clause
"""What the fits return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from imphot.images.opening import ImageLike, as_sky_image
from imphot.images.sky_image import pixel_steps

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = ["FitPictures", "FittedImagePhotometry", "FittedPhotometry", "FittedStarPhotometry", "FittedValue"]


class FittedValue:
    """A fitted number.

    Attributes
    ----------
    value : float
    stdev : float
        standard error; zero when fixed
    fixed : bool
        true when the value was held during the fit
    """

    value: Any  # None only where the caller left it out
    stdev: Any
    fixed: Any

    def __init__(
        self,
        param: Any = None,
        value: float | None = None,
        stdev: float | None = None,
        fixed: bool | None = None,
    ) -> None:
        if param is not None:
            value = param.value if value is None else value
            if fixed is None:
                fixed = not param.vary
            if stdev is None:
                stdev = 0.0 if param.stderr is None else param.stderr
        self.value = value
        self.stdev = stdev
        self.fixed = fixed

    def __repr__(self) -> str:
        value, stdev = (v if v is None else float(v) for v in (self.value, self.stdev))
        return f"FittedValue(value={value!r}, stdev={stdev!r}, fixed={self.fixed!r})"


@dataclass
class FitPictures:
    """What a fit looked like: `crop` of the MUSE image, there image and model, and their transforms.

    ``used`` marks the pixels that were fitted; the half-plane transforms are those of planes of
    ``padded_shape``.
    """

    crop: tuple[slice, slice]
    used: npt.NDArray[np.bool_]
    muse: npt.NDArray[np.float64]
    model: npt.NDArray[np.float64]
    muse_fft: npt.NDArray[np.complex128]
    model_fft: npt.NDArray[np.complex128]
    padded_shape: tuple[int, int]


def sky_offset(wcs: WCS, shape: tuple[int, int], dx: float, dy: float) -> tuple[np.float64, np.float64]:
    """Differences of right ascension and declination [arcsec of coordinate] for a move of the image centre.

    The first one carries no cosine of the declination, as the offset tables of the MUSE pipeline.
    """
    sy, sx = pixel_steps(wcs)
    cy, cx = 0.5 * shape[0], 0.5 * shape[1]
    ra, dec = wcs.all_pix2world([cx, cx + dx / sx], [cy, cy + dy / sy], 0)
    return ((ra[1] - ra[0] + 180.0) % 360.0 - 180.0) * 3600.0, (dec[1] - dec[0]) * 3600.0


def offset_errors(wcs: WCS, shape: tuple[int, int], covariance: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Standard errors of dra and ddec from the 2 x 2 covariance of (dx, dy)."""
    step = 0.05
    columns = [
        np.subtract(sky_offset(wcs, shape, a, b), sky_offset(wcs, shape, -a, -b)) / (2 * step)
        for a, b in ((step, 0), (0, step))
    ]
    jacobian = np.array(columns).T
    errors = jacobian @ np.asarray(covariance, float) @ jacobian.T
    return np.asarray(np.sqrt(np.maximum(np.diag(errors), 0.0)))


class FittedPhotometry:
    """Results common to image and star fits.

    Parameters
    ----------
    method : str
        "image" or "stars"
    muse : image
        the MUSE image that was fitted (its name and coordinates are used)
    fit_report : str
        lmfit's report
    scale, bg, dx, dy, fwhm, beta : FittedValue
        flux scale (MUSE / HST), background (MUSE - scale HST), offsets of MUSE against HST along the pixel
        axes [arcsec], width [arcsec] and index of the MUSE Moffat PSF
    rms_error : float
        root mean square of the differences between image and model
    covariance : array (2, 2), optional
        covariance of dx and dy; their errors are taken as independent without it

    Attributes
    ----------
    dra, ddec : FittedValue
        the offsets as differences of right ascension (no cosine of the declination) and declination [arcsec]
    name : str
        base name of the MUSE file without ".fits"
    """

    def __init__(
        self,
        method: str,
        muse: ImageLike,
        fit_report: str,
        scale: FittedValue,
        bg: FittedValue,
        dx: FittedValue,
        dy: FittedValue,
        fwhm: FittedValue,
        beta: FittedValue,
        rms_error: float,
        covariance: npt.ArrayLike | None = None,
    ) -> None:
        muse = as_sky_image(muse)
        self.method = method
        self.name = "muse" if not muse.filename else Path(muse.filename).name.replace(".fits", "")
        self.fit_report = fit_report
        self.scale, self.bg, self.dx, self.dy, self.fwhm, self.beta = scale, bg, dx, dy, fwhm, beta
        self.rms_error = rms_error
        if covariance is None:
            covariance = np.diag([(dx.stdev or 0.0) ** 2, (dy.stdev or 0.0) ** 2])
        dra, ddec = sky_offset(muse.wcs, muse.shape, dx.value, dy.value)
        errors = offset_errors(muse.wcs, muse.shape, covariance)
        fixed = bool(dx.fixed and dy.fixed)
        # numbers of numpy, as ever: clients call their item()
        self.dra = FittedValue(value=np.float64(dra), stdev=float(errors[0]), fixed=fixed)
        self.ddec = FittedValue(value=np.float64(ddec), stdev=float(errors[1]), fixed=fixed)

    def __str__(self) -> str:
        return (
            f"Report of HST {self.method} photometry fit of MUSE observation {self.name}\n{self.fit_report}"
        )

    def summary(self, header: bool = True) -> str:
        """One line of numbers, under three lines of column titles where wanted."""
        width = len(self.name)
        lines = []
        if header:
            lines = [
                "# MUSE ID".ljust(width)
                + " Method  Flux    FWHM    beta     Flux    x-offset  y-offset  ra-offset dec-offset  RMS",
                "#".ljust(width)
                + "         scale  arcsec           offset    arcsec    arcsec    arcsec    arcsec    error",
                "#".ljust(width, "-")
                + " ------ ------- ------- ------- --------- --------- --------- --------- --------- -------",
            ]
        numbers = [f"{v.value: 7.4f}" for v in (self.scale, self.fwhm, self.beta)]
        numbers += [f"{v.value: 9.5f}" for v in (self.bg, self.dx, self.dy, self.dra, self.ddec)]
        lines.append(" ".join([self.name, f"{self.method:>6}", *numbers, f"{self.rms_error:7.4f}"]))
        return "\n".join(lines)


class FittedImagePhotometry(FittedPhotometry):
    """Results of `fit_image_photometry`.

    Attributes
    ----------
    rchi : float
        reduced chi squared of the fit
    engine : str
        "fourier" or "image"
    flag : int
        sum of the warnings of the fit, zero when all is well: 1 not converged, 2 no significant signal, 4
        beta at a limit, 8 fwhm at a limit, 16 offset beyond the searched area, 32 residuals far above the
        noise, 64 scale at its lower limit, 128 the PSF is not the assumed Moffat function, 256 the images are
        distorted against each other, 512 sources differ in flux scale, 1024 sources differ in position
    npix, niter : int
        pixels used and model evaluations
    snr : float
        scale divided by its error
    covariance : array
        covariance of the free parameters, named in ``free_names``
    """

    def __init__(
        self,
        muse: ImageLike,
        results: Any,
        rms_error: float,
        engine: str = "fourier",
        flag: int = 0,
        npix: int | None = None,
        notes: Mapping[str, float] | None = None,
    ) -> None:
        params = results.params
        values = {name: FittedValue(params[name]) for name in ("scale", "bg", "dx", "dy", "fwhm", "beta")}
        names = list(results.var_names)
        covariance = getattr(results, "covar", None)
        offsets = None
        if covariance is not None:
            offsets = np.zeros((2, 2))
            where = [(i, names.index(n)) for i, n in enumerate(("dx", "dy")) if n in names]
            for i, a in where:
                for j, b in where:
                    offsets[i, j] = covariance[a, b]
        super().__init__(
            "image", muse, results.fit_report(), rms_error=rms_error, covariance=offsets, **values
        )
        self.rchi = results.redchi
        self.free_names = names
        self.covariance = covariance
        self.engine = engine
        self.flag = int(flag)
        self.npix = npix
        self.niter = int(getattr(results, "nfev", 0) or 0)
        self.snr = self.scale.value / self.scale.stdev if self.scale.stdev else float("nan")
        self.notes = dict(notes or {})


class FittedStarPhotometry(FittedPhotometry):
    """Results of `fit_star_photometry`.

    Attributes
    ----------
    ra, dec : float
        position of the star given [degrees]
    muse_fwhm, muse_beta, muse_dx, muse_dy, muse_bg, muse_flux, muse_rchi : FittedValue, the last one float
        the fit of the star in the MUSE image; and the same with ``hst_``
    """

    muse_fwhm: FittedValue
    muse_beta: FittedValue
    muse_dx: FittedValue
    muse_dy: FittedValue
    muse_bg: FittedValue
    muse_flux: FittedValue
    muse_rchi: float
    hst_fwhm: FittedValue
    hst_beta: FittedValue
    hst_dx: FittedValue
    hst_dy: FittedValue
    hst_bg: FittedValue
    hst_flux: FittedValue
    hst_rchi: float

    def __init__(
        self,
        muse: ImageLike,
        muse_results: Any,
        hst_results: Any,
        rms_error: float,
        ra: float,
        dec: float,
        engine: str = "fourier",
        flag: int = 0,
        npix: int | None = None,
        notes: Mapping[str, float] | None = None,
    ) -> None:
        for which, results in (("muse", muse_results), ("hst", hst_results)):
            for name in ("fwhm", "beta", "dx", "dy", "bg", "flux"):
                setattr(self, f"{which}_{name}", FittedValue(results.params[name]))
            setattr(self, f"{which}_rchi", results.redchi)
        self.ra, self.dec = ra, dec
        a, b = self.muse_flux, self.hst_flux
        ratio = a.value / b.value
        relative = np.hypot(a.stdev / a.value if a.value else 0.0, b.stdev / b.value if b.value else 0.0)
        scale = FittedValue(value=ratio, stdev=abs(ratio) * relative, fixed=False)

        def difference(m: FittedValue, h: FittedValue) -> FittedValue:
            return FittedValue(value=m.value - h.value, stdev=float(np.hypot(m.stdev, h.stdev)), fixed=False)

        report = (
            "Fit of the star in the MUSE image\n"
            + muse_results.fit_report()
            + "\nFit of the star in the HST image\n"
            + hst_results.fit_report()
        )
        super().__init__(
            "stars",
            muse,
            report,
            scale,
            difference(self.muse_bg, self.hst_bg),
            difference(self.muse_dx, self.hst_dx),
            difference(self.muse_dy, self.hst_dy),
            self.muse_fwhm,
            self.muse_beta,
            rms_error,
        )
        self.engine = engine
        self.flag = int(flag)
        self.npix = npix
        self.niter = int((muse_results.nfev or 0) + (hst_results.nfev or 0))
        self.notes = dict(notes or {})
