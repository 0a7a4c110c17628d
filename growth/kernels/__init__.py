"""Compiled array functions that know nothing of growth.

Kernels are `nogil`, free of parallel loops and never raise; status codes travel in results.
"""
