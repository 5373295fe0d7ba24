"""Revisions of the database schema, shipped as the package `daemon.migrations`. Run by `daemon.db.migrate`, never by
hand.
"""
