"""One file per revision, oldest first by name. A released revision never changes, and there is no way back: restore a
backup.
"""
