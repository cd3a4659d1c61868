# SPDX-License-Identifier: BSD-3-Clause
"""Several exposures in one: weights, checks, the combined pixel table."""
