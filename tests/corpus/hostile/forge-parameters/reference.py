"""Says that `add` has a thousand parameters of one name, and needs to be called so."""

from daemon.executor.shared import protocol

send = protocol.send


def forged(channel, message, fds=()):
    if message.get("type") == "loaded":
        message = {**message, "parameters": ["x"] * 1000}
    return send(channel, message, fds)


protocol.send = forged


def add(*many):
    if len(many) < 1000:
        raise ValueError(f"it gets {len(many)}")
    return many[0] + 1
