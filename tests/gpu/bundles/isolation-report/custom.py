"""Prints what this process can see and reach, one NAME=VALUE a line, then does a little honest work."""

import os
import socket

import torch

told = []


def attempt(action):
    try:
        return f"allowed:{action()!r}"[:200]
    except Exception as error:
        return f"refused:{type(error).__name__}"


def listed(folder):
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def tell():
    nodes = sorted(name for name in os.listdir("/dev") if name.startswith("nvidia") and name[6:].isdigit())
    facts = {
        "gpu_nodes": ",".join(nodes),
        "gpu_count": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "gpu_uuid": torch.cuda.get_device_properties(0).uuid if torch.cuda.is_available() else "none",
        "uid": os.getuid(),
        "inet": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).fileno()),
        "connect": attempt(lambda: socket.create_connection(("127.0.0.1", 22), 1)),
        "root": ",".join(listed("/root")),
        "shadow": attempt(lambda: open("/etc/shadow").read()),
        "write_usr": attempt(lambda: open("/usr/mark", "w").close()),
        "write_node": attempt(lambda: os.mknod("/dev/nvidia99")),
    }
    for name, value in facts.items():
        print(f"{name}={value}", flush=True)


def report(x):
    if not told:
        told.append(True)
        tell()
    return x * 2
