# SPDX-License-Identifier: BSD-3-Clause
"""Are errors and flags of the engine `image` of imphot honest? Synthetic fields, with what it does not model.

    python benchmarks/bench_imphot_errors.py --skies 30 [--only "clean, index held"]

Each field is another sky with other noise. chi is the root mean square of (fit - truth) / quoted error over
the fields; it should be one. What the flags say is listed as the share of fields that carry each.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections import Counter

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402
from astropy.wcs import WCS  # noqa: E402

import imphot  # noqa: E402
from imphot.images.sky_image import SkyImage  # noqa: E402
from muse_core.simulate.imphot_pairs import PairTruth, make_pair, make_sky, with_noise  # noqa: E402

NAMES = ("dx", "dy", "bg", "scale", "fwhm", "beta")
BRIGHT = {"nstar": 6, "ndisc": 60, "star_flux": (2000.0, 30000.0), "disc_flux": (50.0, 6000.0)}
HELD = {"fix_beta": 2.5}

# name: truth, sky, options of the fit
CASES = {
    "clean": (PairTruth(hst_noise=0.005), {}, {}),
    "clean, index held": (PairTruth(hst_noise=0.005), {}, HELD),
    "clean, bright": (PairTruth(hst_noise=0.002), BRIGHT, {}),
    "clean, exposure time far too short": (PairTruth(hst_noise=0.002, exptime=5.0), BRIGHT, {}),
    "clean, dense": (PairTruth(hst_noise=0.002), {"ndisc": 500, "disc_flux": (2.0, 1500.0)}, {}),
    "turbulence": (PairTruth(hst_noise=0.005, seeing="kolmogorov", fwhm=0.7), {}, {}),
    "turbulence, index held": (PairTruth(hst_noise=0.005, seeing="kolmogorov", fwhm=0.7), {}, HELD),
    "turbulence, bright": (PairTruth(hst_noise=0.002, seeing="kolmogorov", fwhm=0.7), BRIGHT, {}),
    "turbulence, bright, held": (PairTruth(hst_noise=0.002, seeing="kolmogorov", fwhm=0.7), BRIGHT, HELD),
    "index 3.5, held at 2.5": (PairTruth(hst_noise=0.005, beta=3.5), {}, HELD),
    "colours 20 %": (PairTruth(hst_noise=0.005, colours=0.2), {}, {}),
    "colours 20 %, bright": (PairTruth(hst_noise=0.002, colours=0.2), BRIGHT, {}),
    "turned by 0.2 deg": (PairTruth(hst_noise=0.005, turn=0.2), {}, {}),
    "turned, bright": (PairTruth(hst_noise=0.002, turn=0.2, stretch=0.001), BRIGHT, {}),
    "stars moved by 0.1 arcsec": (PairTruth(hst_noise=0.005, moved_stars=0.1), {}, {}),
}


def fit_one(truth, sky_options, options, seed):
    """One field: the result of the fit."""
    pair = make_pair(make_sky(seed, truth.size, **sky_options), truth)
    hst, muse, variance = with_noise(pair, truth, seed)
    himage = SkyImage(hst, None, None, WCS(pair[1]), "ELECTRONS/S", data_header=pair[1])
    mimage = SkyImage(muse, variance, None, WCS(pair[3]), "10**(-20)*erg/s/cm**2/Angstrom")
    return imphot.fit_image_photometry(himage, mimage, method="image", **options)


def study(name, skies, first=1000):
    """One line of the table."""
    truth, sky_options, options = CASES[name]
    chi, off, flags = [], [], Counter()
    for seed in range(first, first + skies):
        fit = fit_one(truth, sky_options, options, seed)
        row = [(getattr(fit, n).value - getattr(truth, n), getattr(fit, n).stdev) for n in NAMES]
        chi.append([d / s if s > 0 else np.nan for d, s in row])
        off.append(100.0 * row[3][0] / truth.scale)
        flags.update(bit for bit in imphot_flags(fit.flag))
    chi = np.sqrt(np.nanmean(np.square(chi), axis=0))
    if truth.seeing != "moffat" or "fix_beta" in options:
        chi[5] = np.nan
    cells = ["-" if np.isnan(c) else f"{c:.2f}" for c in chi]
    said = ", ".join(f"{bit}: {100 * n / skies:.0f} %" for bit, n in sorted(flags.items())) or "none"
    return f"| {name} | {np.mean(off):+.2f} | {np.std(off):.2f} | " + " | ".join(cells) + f" | {said} |"


def imphot_flags(flag):
    """Bits of a flag."""
    return [1 << i for i in range(12) if flag & (1 << i)]


def main():
    """Print the table of docs/validation.md."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--skies", type=int, default=30)
    parser.add_argument("--only", nargs="*", default=None)
    options = parser.parse_args()
    logging.getLogger("imphot").setLevel(logging.ERROR)
    sys.stdout.write("| field | scale: bias [%] | scatter [%] | " + " | ".join(NAMES) + " | flags |\n")
    sys.stdout.write("|---|---|---|" + "---|" * len(NAMES) + "---|\n")
    for name in options.only or CASES:
        sys.stdout.write(study(name, options.skies) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
