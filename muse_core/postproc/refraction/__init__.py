# SPDX-License-Identifier: BSD-3-Clause
"""Atmospheric refraction: correction, and the check of what is left."""
