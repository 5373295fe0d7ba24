"""Raises an exception that raises another one when it is asked for its text."""

from torch import nn


class UnprintableError(Exception):
    def __str__(self):
        raise self

    __repr__ = __str__


class ModelNew(nn.Module):
    def forward(self, a, b):
        raise UnprintableError
