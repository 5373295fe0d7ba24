"""The page at /docs: the OpenAPI description as plain HTML, with nothing in it from elsewhere and no script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

# What a browser lets the page do, whatever found its way into it: look as it looks.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

_STYLE = """
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 sans-serif; }
h2 { margin-top: 2.5rem; font: 600 1.1rem monospace; }
pre { padding: 0.75rem; overflow-x: auto; background: #8881; }
table { border-collapse: collapse; }
td, th { padding: 0.2rem 1rem 0.2rem 0; text-align: left; vertical-align: top; }
"""


def page_of(described: dict[str, Any]) -> str:
    """A page for people about the routes that `described`, an OpenAPI document, has."""
    return "\n".join(_page(described))


def _page(described: dict[str, Any]) -> Iterator[str]:
    info = described["info"]
    yield f'<!DOCTYPE html>\n<html lang="en">\n<meta charset="utf-8">\n<title>evald</title>\n<style>{_STYLE}</style>'
    yield f"<h1>evald {escape(info['version'])}</h1>"
    yield from (f"<p>{_text(part)}</p>" for part in info["description"].strip().split("\n\n"))
    yield '<p>For programs, and with every field: <a href="openapi.json">openapi.json</a>.</p>'
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield from _route(method.upper(), path, operation)
    yield "</html>\n"


def _route(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    yield f"<h2>{escape(method)} {escape(path)}</h2>"
    yield f"<p>{_text(operation['summary'])}.</p>"
    if text := operation.get("description"):
        yield f"<p>{_text(text)}</p>"
    yield from _parameters(operation.get("parameters", []))
    for content in operation.get("requestBody", {}).get("content", {}).values():
        for example in content.get("examples", {}).values():
            yield f"<pre>{escape(json.dumps(example['value'], indent=2))}</pre>"
    yield "<table>"
    for code, answer in operation["responses"].items():
        yield f"<tr><td>{escape(code)}</td><td>{_text(answer.get('description', ''))}</td></tr>"
    yield "</table>"


def _parameters(parameters: list[dict[str, Any]]) -> Iterator[str]:
    if not parameters:
        return
    yield "<table>\n<tr><th>parameter</th><th>in</th><th>meaning</th></tr>"
    for one in parameters:
        cells = (f"<code>{escape(one['name'])}</code>", escape(one["in"]), _text(one.get("description", "")))
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
    yield "</table>"


def _text(text: str) -> str:
    """Text with what stands between backticks as code."""
    parts = escape(" ".join(text.split())).split("`")
    return "".join(f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts))
