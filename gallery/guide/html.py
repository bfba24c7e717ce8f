"""The guide as HTML: no raw HTML, no images, no scripts, nothing fetched from elsewhere.

Links are relative, so that the guide may be served below any path.
"""

from __future__ import annotations

import re
from html import escape
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from gallery.guide.topics import TOPICS, Topic

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="{root}page/icon.svg">
<link rel="stylesheet" href="{root}page/page.css">
<link rel="stylesheet" href="{root}page/guide.css">
</head>
<body class="guide">
<nav aria-label="Guide">{links}</nav>
<main>
{body}
</main>
</body>
</html>
"""


def topic_page(topic: Topic) -> str:
    """One topic as an HTML page."""
    links = '<a href="../">Back to the gallery</a> <a href="../guide">All topics</a>'
    title, body = escape(topic.title), _rendered(topic.text)
    return _PAGE.format(title=title, root="../", links=links, body=body)


def topics_page(topics: list[Topic]) -> str:
    """The list of topics as an HTML page."""
    return _list_page("Guide", topics, "./")


def missing_topic_page(name: str, topics: list[Topic]) -> str:
    """The page for a topic that does not exist, with the list of topics."""
    note = f"<p>The guide has no topic {escape(repr(name))}. These are its topics:</p>\n"
    return _list_page("Topic not found", topics, "../", note)


def _list_page(title: str, topics: list[Topic], root: str, note: str = "") -> str:
    """root : the address of the gallery, relative to this page's."""
    rows = "\n".join(
        f'<li><a href="{root}guide/{topic.name}">{escape(topic.title)}</a></li>' for topic in topics
    )
    body = f"<h1>{title}</h1>\n{note}<ul>\n{rows}\n</ul>"
    links = f'<a href="{root}">Back to the gallery</a>'
    return _PAGE.format(title=title, root=root, links=links, body=body)


def _rendered(text: str) -> str:
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    tokens = parser.parse(text)
    for token, following in pairwise(tokens):
        if token.type == "heading_open":
            token.attrSet("id", anchor(following.content))
        if following.type == "inline":
            following.children = _local_links(following.children or [])
        if token.type == "table_open":
            token.attrSet("tabindex", "0")  # a wide table scrolls, by keyboard too
        if token.attrs.pop("style", None) == "text-align:right":  # the page allows no style
            token.attrSet("class", "number")
    html = parser.renderer.render(tokens, parser.options, {})
    assert isinstance(html, str)
    return html


def _local_links(tokens: list[Token]) -> list[Token]:
    """Links to other topics lead to their pages; a link to a file of the repository is its text."""
    kept: list[Token] = []
    is_open = False
    for token in tokens:
        if token.type == "link_open":
            target = _target(str(token.attrs.get("href", "")))
            is_open = target is not None
            if target is None:
                continue
            token.attrSet("href", target)
        if token.type == "link_close" and not is_open:
            continue
        kept.append(token)
    return kept


def _target(link: str) -> str | None:
    path, mark, fragment = link.partition("#")
    if not path or path.removesuffix(".md") in TOPICS:
        return path.removesuffix(".md") + mark + fragment
    return None


def anchor(heading: str) -> str:
    """The id of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")
