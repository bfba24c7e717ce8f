"""Write the pages of the guide that are made from the code: `python -m tests.docs.generate`.

commands.md comes from the command line, http-api.md from the OpenAPI description, settings.md from
gallery.config.Settings. A test compares the files with what this module makes.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from gallery.api.app import create_app
from gallery.cli.app import whole_program
from gallery.config import Settings
from gallery.gallery import Gallery
from gallery.guide.topics import FOLDER
from gallery.json_forms.problem_types import PREFIX, PROBLEM_TYPES

_COMMANDS = """# Commands: every command and its options

```
gallery [--home DIR] [--encoder NAME [--weights FILE]] COMMAND
```

These three options may also stand after the command. `enroll-identity` is also installed as a
program of its own. `gallery COMMAND --help` prints what is written here. Every command takes
`--json`; [output](output.md) describes what it prints, and the exit statuses.
"""

_SETTINGS = """# Settings: the GALLERY_* environment variables

Each setting is an environment variable. `--home` and `--encoder` are also options of every command,
and `Gallery.open(home, name=value)` takes every setting by its name in lower case, without
`GALLERY_`. A value out of range is rejected, and the message gives its limits. An empty variable
counts as not set.

| variable | default | allowed | meaning |
|---|---|---|---|
"""

_HTTP = """# HTTP API: every request and answer

`gallery serve` listens on http://127.0.0.1:8000. The machine-readable description of what follows
is at `GET /v1/openapi.json`. [operations](operations.md#serving) covers keys, proxies and load.

```
curl -F photo=@unknown.jpg http://127.0.0.1:8000/v1/query
curl -F name="Grace Hopper" -F photo=@grace1.jpg http://127.0.0.1:8000/v1/identities
```

## Conventions

- **Photos** are sent as a multipart field, as base64 in JSON (`{"photo": "..."}`), or as the
  request body itself (`image/*` or `application/octet-stream`). Uploads stay in memory. Base64 may
  be a `data:` URL, be wrapped into lines, use the URL-safe alphabet and lack its padding.
- **Bodies** may be compressed with `Content-Encoding: gzip`. The limits below count inflated bytes.
- **Query parameters** that a request does not have are 422; the detail names those that it has.
- **Keys** are sent as `Authorization: Bearer gallery_...`. Each request below names the scope it
  needs; the scope `admin` is enough for everything. Without any key in the gallery, only this
  machine may ask.
- **Errors** are problem documents (RFC 9457) with status 4XX or 5XX.
  [Problem types](#problem-types) lists them.
- **Repeating a write** is safe with an `Idempotency-Key` header: the same key and body get the
  first answer again. `Client` does this by itself.
- **Concurrent edits**: an identity has an `ETag`. `PATCH` and `DELETE` honour `If-Match`, `GET`
  honours `If-None-Match`.
- **Limits**: a request without photos may have one megabyte; one with photos
  `GALLERY_MAX_REQUEST_BYTES`. When the queue is full, the answer is 503 with `Retry-After`, as it
  is after `GALLERY_API_SECONDS`. If several photos were sent at once, each says what became of it
  by then.
- **Consistency**: what another process enrols is seen by the next query.
- `HEAD` is answered like `GET`. Every answer has an `x-request-id`.
- Boxes are left, top, right, bottom in pixels of the upright photo.

## Pages

- `GET /`: the [page](page.md). It fetches nothing from elsewhere.
- `GET /guide`, `GET /guide/TOPIC`: this guide. An unknown topic gets 404 and a page that lists the
  topics.
- `GET /v1/openapi.json`: the description.

These three need no key.
"""


def commands_page(group: Any) -> str:
    """commands.md. group : the Click group of the program."""
    context = typer.Context(group, info_name="gallery")
    options = [
        parameter.get_help_record(context)
        for parameter in group.params
        if {"--home", "--encoder", "--weights"} & set(parameter.opts)
    ]
    table = [_row(f"`{_plain_types(flags)}`", meaning) for flags, meaning in options]
    parts = ["\n".join([_COMMANDS, "| option | meaning |", "|---|---|", *table, ""])]
    for name, command in sorted(commands(group)):
        context = typer.Context(command, info_name=f"gallery {name}")
        parts.append(f"## `{name}`\n\n{_command(command, context)}")
    return "\n".join(parts)


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Return every command with its full name, such as "identities show"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{path}{name} ")
        else:
            yield f"{path}{name}", command


def _command(command: Any, context: Any) -> str:
    words = [context.command_path, "[OPTIONS]"]
    rows = []
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            name = parameter.metavar or parameter.name.upper()
            words.append(name)
            if parameter.help:
                rows.append(_row(f"`{name}`", parameter.help))
        elif "--json" not in parameter.opts and parameter.rich_help_panel != "Gallery":
            flags, meaning = parameter.get_help_record(context)
            rows.append(_row(f"`{_plain_types(flags)}`", meaning))
    table = "\n".join(["| option | meaning |", "|---|---|", *rows]) if rows else ""
    parts = (command.help.strip(), f"```\n{' '.join(words)}\n```", table)
    return "\n\n".join(part for part in parts if part) + "\n"


def _plain_types(flags: str) -> str:
    """`--limit <int range>` as `--limit N`."""
    names = {"int": "N", "float": "N", "path": "PATH", "list[path]": "PATH", "list[int]": "N"}

    def plain(match: re.Match[str]) -> str:
        return names.get(match[1].lower().removesuffix(" range"), "TEXT")

    return re.sub(r"<([^>]+)>", plain, flags)


def settings_page() -> str:
    """settings.md."""
    return _SETTINGS + "\n".join(_setting(name) for name in Settings.model_fields) + "\n"


def _setting(name: str) -> str:
    field = Settings.model_fields[name]
    schema = Settings.model_json_schema()["properties"][name]
    return _row(f"`GALLERY_{name.upper()}`", _default(name), _allowed(schema), field.description)


def _default(name: str) -> str:
    folders = {"home": "the platform's data folder", "cache": "the platform's cache folder"}
    default = Settings.model_fields[name].default
    if name in folders or default is None:
        return folders.get(name, "")
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "boolean":
        return "`true`, `false`"
    low, high = schema.get("minimum"), schema.get("maximum")
    if "exclusiveMinimum" in schema:
        return f"over {schema['exclusiveMinimum']:g}, up to {_number(schema['maximum'])}"
    if low is None:
        return ""
    return f"{_number(low)} or more" if high is None else f"{_number(low)} to {_number(high)}"


def _number(value: float) -> str:
    return f"{value:f}".rstrip("0").rstrip(".") if value < 1 else f"{value:,.10g}"


def http_page(description: dict[str, Any]) -> str:
    """http-api.md. description : the OpenAPI document."""
    parts = [_HTTP, "## Requests\n"]
    for path, item in description["paths"].items():
        for method, operation in item.items():
            parts.append(_operation(f"{method.upper()} {path}", operation))
    parts.append("## Answers\n")
    for name, schema in sorted(description["components"]["schemas"].items()):
        parts.append(_schema(name, schema))
    parts.append(
        "## Problem types\n\n`type` of a problem document, after the prefix"
        f" `{PREFIX}`.\n\n| type | meaning |\n|---|---|"
    )
    for error, kind in PROBLEM_TYPES.items():
        parts.append(_row(f"`{kind}`", (error.__doc__ or "").split("\n\n")[0]))
    return "\n".join(parts) + "\n"


def _operation(request: str, operation: dict[str, Any]) -> str:
    lines = [f"### `{request}`\n", operation["description"].strip() + "\n"]
    for kind, media in operation.get("requestBody", {}).get("content", {}).items():
        lines.append(f"- Body, `{kind}`: {_body(media['schema'])}")
    for parameter in operation.get("parameters", []):
        if parameter["in"] != "path" and parameter["name"] != "Idempotency-Key":
            lines.append(_parameter(parameter))
    for status, response in operation["responses"].items():
        if status not in ("4XX", "5XX"):
            lines.append(_response(status, response))
    return "\n".join(lines) + "\n"


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter["schema"]
    default = schema.get("default")
    shown = str(default).lower() if isinstance(default, bool) else default
    parts = [
        parameter.get("description", ""),
        f"At most {schema['maximum']:,}." if "maximum" in schema else "",
        f"Default {shown}." if shown not in (None, "") else "",
    ]
    name = f"?{parameter['name']}" if parameter["in"] == "query" else parameter["name"]
    return f"- `{name}`: {' '.join(part for part in parts if part)}"


def _response(status: str, response: dict[str, Any]) -> str:
    names = re.findall(r"#/components/schemas/(\w+)", str(response.get("content", {})))
    answers = " or ".join(f"[{name}](#{name.lower()})" for name in names)
    meaning = response["description"]
    texts = [
        text for text in ("" if meaning == "Successful Response" else meaning, answers) if text
    ]
    return f"- {status}: {' '.join(texts) or 'done'}"


def _body(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    fields = schema.get("properties")
    if not fields:
        return "the photo's bytes (or `image/*`)"
    return ", ".join(
        f"`{name}` ({'one or more: ' if field.get('type') == 'array' else ''}{_content(field)}"
        f"{'' if name in schema['required'] else ', optional'})"
        for name, field in fields.items()
    )


def _content(field: dict[str, Any]) -> str:
    field = field.get("items", field)
    if field.get("contentEncoding") == "base64":
        return "photo in base64"
    return "photo" if field.get("format") == "binary" else str(field.get("type", "any"))


def _schema(name: str, schema: dict[str, Any]) -> str:
    description = " ".join(schema.get("description", "").split())
    if "enum" in schema:
        return f"### {name}\n\n{description} " + ", ".join(f"`{v}`" for v in schema["enum"]) + "\n"
    fields = "\n".join(
        f"- `{key}`: {_type(field)}"
        + (f". {field['description']}" if "description" in field else "")
        for key, field in schema.get("properties", {}).items()
    )
    return f"### {name}\n\n{description}\n\n{fields}\n"


def _type(field: dict[str, Any]) -> str:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in field:
        return " or ".join(_type(option) for option in field["anyOf"])
    if "enum" in field:
        return " or ".join(f"`{value}`" for value in field["enum"])
    if field.get("type") == "array":
        return f"list of {_type(field.get('items', {}))}"
    return str(field.get("type", "any value"))


def _row(*cells: str | None) -> str:
    texts = (" ".join((cell or "").split()).replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(texts)} |"


def openapi() -> dict[str, Any]:
    """The description of the HTTP API, that of an empty gallery's server."""
    with tempfile.TemporaryDirectory() as home, Gallery.open(Path(home)) as gallery:
        return create_app(gallery).openapi()


def generated_pages() -> dict[str, str]:
    """File names and texts of the pages made from the code."""
    return {
        "commands.md": commands_page(whole_program()),
        "http-api.md": http_page(openapi()),
        "settings.md": settings_page(),
    }


def main() -> None:
    """Write the pages into the package."""
    for name, text in generated_pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
