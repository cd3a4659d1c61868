# SPDX-License-Identifier: BSD-3-Clause
"""Arc lamps: wavelength solutions (muse_wavecal) and line profiles (muse_lsf)."""
