# SPDX-License-Identifier: BSD-3-Clause
"""HST images made comparable to MUSE images: filters, flux units, pixels; and cubes seen through a filter."""
