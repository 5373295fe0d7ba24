"""Rows of a table, chosen by an index."""


def gather(table, index):
    return table[index]
