# SPDX-License-Identifier: BSD-3-Clause
"""The night sky: spectrum, lines, continuum, subtraction."""
