# SPDX-License-Identifier: BSD-3-Clause
"""The recipes muse_scipost_*: one step of muse_scipost each, from pixel table to pixel table."""
