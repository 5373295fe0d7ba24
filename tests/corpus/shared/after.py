"""Calls a function at the end of everything this cell does for the judge, just before it can say "done"."""

from daemon.executor.inside.slots import Slots


def after_rounds(do):
    honest = Slots._to_the_end

    def to_the_end(self, work, launched=None):
        taken = honest(self, work, launched)
        do()
        return taken

    Slots._to_the_end = to_the_end
