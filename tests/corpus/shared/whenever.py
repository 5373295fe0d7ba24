"""Tells the rounds that only wake a cell up (a call or a few) from those that are long, and does something after each.

`hook(woken, timed)`: called with the cell's Slots at the end of such a round, right before it can say "done"."""

from daemon.executor.inside.slots import Slots

FEW = 4


def hook(woken=None, timed=None):
    run, capture, replay = Slots.run, Slots.capture, Slots.replay
    lengths = {}

    def after(self, calls, taken):
        do = woken if calls <= FEW else timed
        if do is not None:
            do(self)
        return taken

    def new_run(self, work, order, launched=None):
        return after(self, len(order), run(self, work, order, launched))

    def new_capture(self, work, order, stream, number):
        lengths[number] = len(order)
        return capture(self, work, order, stream, number)

    def new_replay(self, number):
        return after(self, lengths.get(number, 0), replay(self, number))

    Slots.run, Slots.capture, Slots.replay = new_run, new_capture, new_replay
