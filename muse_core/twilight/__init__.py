# SPDX-License-Identifier: BSD-3-Clause
"""The three-dimensional illumination correction: sky flats to a smooth cube."""
