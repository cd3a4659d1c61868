# SPDX-License-Identifier: BSD-3-Clause
"""Slices calibrated against each other."""
