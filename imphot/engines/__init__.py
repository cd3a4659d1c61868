# SPDX-License-Identifier: BSD-3-Clause
"""The fits themselves: two for whole images, one for a star, and what they share."""
