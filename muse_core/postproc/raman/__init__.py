# SPDX-License-Identifier: BSD-3-Clause
"""Raman-scattered light of the lasers."""
