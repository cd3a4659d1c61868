# SPDX-License-Identifier: BSD-3-Clause
"""Kernel of the rotation from native to celestial coordinates."""

from __future__ import annotations

import math

import numpy as np

from muse_core.data.elementary_functions import (
    HALF_PI,
    HALF_PI_REST,
    SMALL,
    arctangent,
    sine_cosine,
    small_arcsine,
    small_cosine,
    small_sine,
)
from muse_core.framework.kernels import njit

_DEG = 180.0 / math.pi
_FAST_RAD = np.float32(0.9 * SMALL)
_FAST_DEC_DEG = 80.0
_ROWS = 1024


@njit(cache=True, nogil=True, error_model="numpy")
def rotate_rows(xpos, ypos, pole_dec_deg):
    """Kernel of `apply_position` for a native pole at declination `pole_dec_deg` and LONPOLE = 180 deg.

    Rows near the native pole, with this pole not too near to the celestial one, have formulas without
    branches, so that their loop is vectorised.
    """
    pole_dec = math.radians(pole_dec_deg)
    sin_pole, cos_pole = math.sin(pole_dec), math.cos(pole_dec)
    far_from_pole = abs(pole_dec_deg) <= _FAST_DEC_DEG
    x, y = xpos, ypos
    for start in range(0, x.size, _ROWS):
        stop = min(start + _ROWS, x.size)
        special = 0 if far_from_pole else 1
        a, b = x[start:stop], y[start:stop]
        for i in range(a.size):
            special += not _is_near(a[i], b[i])
        while start < stop:
            end = stop
            if special:  # up to the next special row
                end = start
                while end < stop and far_from_pole and _is_near(x[end], y[end]):
                    end += 1
            a, b = x[start:end], y[start:end]
            for i in range(a.size):
                a[i], b[i] = _celestial_near(a[i], b[i], pole_dec, pole_dec_deg, sin_pole, cos_pole)
            if end < stop:
                x[end], y[end] = _celestial(x[end], y[end], pole_dec_deg, sin_pole, cos_pole)
            start = end + 1


@njit(nogil=True, error_model="numpy")
def _is_near(phi, theta):
    return (abs(theta) < _FAST_RAD) & (phi >= np.float32(0.0)) & (phi < np.float32(6.2832))


@njit(inline="always", error_model="numpy")
def _celestial_near(phi, theta, pole_dec, pole_dec_deg, sin_pole, cos_pole):
    """Return celestial minus polar coordinates [deg] of a row near the native pole.

    The vector to the row has the components `ahead` (to the native pole), `north` and `east`. Its declination
    minus that of the pole is found as a small angle itself: sin(difference) = north - sin(pole) * (cos(dec) -
    component towards RA = 0 in the plane of the equator).
    """
    # theta as a number near pi/2 is rounded: this much of it is left
    distance = HALF_PI_REST - ((np.float64(theta) + HALF_PI) - HALF_PI)
    ahead, aside = small_cosine(distance), small_sine(distance)
    sine, cosine = sine_cosine(np.float64(phi) - math.pi)
    north, east = aside * cosine, -(aside * sine)
    outwards = ahead * cos_pole - north * sin_pole
    cos_dec = math.sqrt(outwards * outwards + east * east)
    bulge = east * east / (cos_dec + outwards)
    difference = small_arcsine(north - bulge * sin_pole)
    # in degrees before the difference is taken: the rounding of the C pipeline
    return arctangent(east / outwards) * _DEG, (pole_dec + difference) * _DEG - pole_dec_deg


@njit(nogil=True, error_model="numpy")
def _celestial(phi, theta, pole_dec_deg, sin_pole, cos_pole):
    """Return celestial minus polar coordinates [deg] of any row."""
    theta = np.float64(theta) + math.pi / 2
    sin_theta, cos_theta = math.sin(theta), math.cos(theta)
    dphi = np.float64(phi) - math.pi  # the native longitude of the celestial pole is 180 deg
    sin_phi, cos_phi = math.sin(dphi), math.cos(dphi)
    ra = math.atan2(-cos_theta * sin_phi, sin_theta * cos_pole - cos_theta * sin_pole * cos_phi)
    dec = math.asin(sin_theta * sin_pole + cos_theta * cos_pole * cos_phi)
    return ra * _DEG, dec * _DEG - pole_dec_deg
