# SPDX-License-Identifier: BSD-3-Clause
"""What muse_scipost reads before the first pixel: exposures and calibrations."""
