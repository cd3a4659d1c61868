# SPDX-License-Identifier: BSD-3-Clause
"""The steps of the recipe muse_imphot around the library imphot: frames in, products out."""
