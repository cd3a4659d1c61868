# SPDX-License-Identifier: BSD-3-Clause
"""The fit of one star in both images."""
