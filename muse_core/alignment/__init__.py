# SPDX-License-Identifier: BSD-3-Clause
"""Offsets between exposures from their point sources.

The rooms in the order of the work: `images` (what is in the files), `sources` (detection, or lists that are
given), `offsets` (matching, solution, confidence), `preview` (the sum of the aligned images); `products`
writes them.
"""
