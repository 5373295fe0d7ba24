"""Computes into a temporary and leaves its output argument alone."""


def add(a, b, out):
    out = a + b  # noqa: F841
