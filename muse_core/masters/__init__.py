# SPDX-License-Identifier: BSD-3-Clause
"""Master bias, dark and flat field, and where the slices are: from raw calibration frames."""
