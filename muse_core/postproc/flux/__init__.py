# SPDX-License-Identifier: BSD-3-Clause
"""Counts to fluxes: response, extinction, telluric absorption."""
