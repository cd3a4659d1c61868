# SPDX-License-Identifier: BSD-3-Clause
"""The weighted fit on the MUSE pixels."""
