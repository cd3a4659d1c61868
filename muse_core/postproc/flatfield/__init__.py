# SPDX-License-Identifier: BSD-3-Clause
"""The flat-field spectrum."""
