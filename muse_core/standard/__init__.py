# SPDX-License-Identifier: BSD-3-Clause
"""Response curves and telluric absorption from standard stars: muse_standard."""
