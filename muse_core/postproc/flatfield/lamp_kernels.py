# SPDX-License-Identifier: BSD-3-Clause
"""Kernel of the multiplication by the spectrum of the flat-field lamp."""

from __future__ import annotations

from muse_core.data.curves import find_interval
from muse_core.framework.kernels import njit

STEP = 1.25
"""Step of the mean spectrum [Angstrom]."""


@njit(cache=True, nogil=True)
def multiply_rows(lam, data, stat, nodes, values, cells, cells_per_angstrom, drop_to_zero):
    """Kernel of `apply_flat_spectrum`."""
    n = nodes.size
    for i in range(lam.size):
        wavelength = float(lam[i])
        k = find_interval(nodes, cells, cells_per_angstrom, wavelength)
        if k >= 0 and n > 1:
            t = (wavelength - nodes[k]) / (nodes[k + 1] - nodes[k])
            factor = (1.0 - t) * values[k] + t * values[k + 1]
        elif drop_to_zero:
            red, blue = (wavelength - nodes[n - 1]) / STEP, (nodes[0] - wavelength) / STEP
            if 0.0 <= red < 1.0:
                factor = values[n - 1] * (1.0 - red)
            else:
                factor = values[0] * (1.0 - blue) if 0.0 <= blue < 1.0 else 0.0
        else:
            factor = values[0] if wavelength < nodes[0] else values[n - 1]
        data[i] = float(data[i]) * factor
        stat[i] = float(stat[i]) * factor * factor
