# SPDX-License-Identifier: BSD-3-Clause
"""An exposure on its way through the corrections: chain, limits, pointing, pixel-table products."""
