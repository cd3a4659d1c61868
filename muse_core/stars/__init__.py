# SPDX-License-Identifier: BSD-3-Clause
"""Stars in cubes on the pixel grid: what muse_standard and muse_astrometry have in common."""
