# SPDX-License-Identifier: BSD-3-Clause
"""The sum of all exposures on the grid of the first one."""
