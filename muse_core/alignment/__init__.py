# SPDX-License-Identifier: BSD-3-Clause
"""Offsets between exposures from their point sources: detection, matching, solution, confidence, preview."""
