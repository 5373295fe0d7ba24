"""Says it is done and leaves the work to a thread."""

import threading
import time

import torch


def finish(x, y, out):
    time.sleep(5)
    torch.add(x, y, out=out)


def later(x, y, out):
    threading.Thread(target=finish, args=(x, y, out), daemon=True).start()
