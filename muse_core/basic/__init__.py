# SPDX-License-Identifier: BSD-3-Clause
"""muse_scibasic: from calibrated images to pixel tables."""
