"""The page at /docs: each route and what its body takes, in one piece that loads nothing from elsewhere.

It is made of the OpenAPI schema, which is at /openapi.json.
"""

from __future__ import annotations

from html import escape
from typing import Any

STYLE = (
    "body{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td,th{border-bottom:1px solid #ccc;padding:.3rem .6rem;"
    "text-align:left;vertical-align:top}code{background:#f2f2f2}h2{margin-top:2.5rem}"
)
Schema = dict[str, Any]


def reference_page(schema: Schema) -> str:
    """An OpenAPI schema as HTML."""
    routes = [
        _route(method, path, operation)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
    ]
    bodies = [_fields(name, part) for name, part in schema["components"]["schemas"].items()]
    title = escape(schema["info"]["title"])
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body><h1>{title}</h1>"
        f'<p>As a schema for programs: <a href="openapi.json">openapi.json</a>.</p>'
        f"{''.join(routes)}<h1>Fields</h1>{''.join(bodies)}</body></html>"
    )


def _route(method: str, path: str, operation: Schema) -> str:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    takes = f"<p>Body: {_type(content['schema'])}.</p>" if "schema" in content else ""
    key = "<p>Needs a bearer key, unless the service runs without keys.</p>"
    statuses = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer.get('description', ''))}</td></tr>"
        for status, answer in operation.get("responses", {}).items()
    )
    return (
        f"<h2><code>{method.upper()} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('description', ''))}</p>{takes}"
        f"{key if operation.get('security') else ''}<table>{statuses}</table>"
    )


def _fields(name: str, part: Schema) -> str:
    required = part.get("required", ())
    rows = "".join(
        f"<tr><td><code>{escape(field)}</code></td><td>{_type(about)}</td>"
        f"<td>{'required' if field in required else _default(about)}</td>"
        f"<td>{escape(about.get('description', ''))}</td></tr>"
        for field, about in part.get("properties", {}).items()
    )
    heads = "<tr><th>field</th><th>type</th><th>default</th><th></th></tr>"
    return (
        f'<h2 id="{escape(name)}">{escape(name)}</h2><p>{escape(part.get("description", ""))}</p>'
        f"<table>{heads}{rows}</table>"
    )


def _default(about: Schema) -> str:
    return escape(str(about["default"])) if about.get("default") not in (None, "") else ""


def _type(about: Schema) -> str:
    """What a value may be, as HTML; a body of its own is a link to its fields."""
    if "$ref" in about:
        name = escape(about["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in about:
            return " or ".join(dict.fromkeys(_type(part) for part in about[choice]))
    if "const" in about or "enum" in about:
        return ", ".join(escape(str(value)) for value in about.get("enum", [about.get("const")]))
    if about.get("type") == "array":
        return f"list of {_type(about.get('items', {}))}"
    return escape(str(about.get("type", "anything")))
