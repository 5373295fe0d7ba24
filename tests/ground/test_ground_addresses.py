"""Addresses of this machine."""

from __future__ import annotations

import pytest

from daemon.addresses import is_loopback


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("127.0.0.1", True), ("127.9.9.9:80", True), ("localhost", True), ("LOCALHOST:1", True), ("::1", True),
        ("[::1]:8720", True), ("localhost.", True), ("0.0.0.0", False), ("::", False), ("evil.example", False),
        ("", False), ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("10.0.0.1:80", False),
    ],
)  # fmt: skip
def test_which_addresses_are_this_machines_own(host: str, ours: bool) -> None:
    assert is_loopback(host) is ours
