# SPDX-License-Identifier: BSD-3-Clause
"""The point sources of an image: detected, or taken from a list that is given."""
