# SPDX-License-Identifier: BSD-3-Clause
"""From pixel-table rows to cubes and images: output grid, weights, cosmic rays, slabs."""
