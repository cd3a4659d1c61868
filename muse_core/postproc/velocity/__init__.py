# SPDX-License-Identifier: BSD-3-Clause
"""The velocity frame of the wavelengths."""
