# SPDX-License-Identifier: BSD-3-Clause
"""The final cube and what is made from it."""
