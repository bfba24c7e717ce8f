"""The guide is opened by command and over HTTP, and its generated pages are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from gallery.guide.html import anchor, topic_page
from gallery.guide.topics import FOLDER, TOPICS, Topic, read_topics
from tests.api.conftest import Serve
from tests.cli.conftest import Run
from tests.docs.generate import generated_pages

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *FOLDER.glob("*.md")])


def test_every_file_is_a_topic() -> None:
    assert {file.stem for file in FOLDER.glob("*.md")} == set(TOPICS)


def test_every_topic_begins_with_its_title() -> None:
    for topic in read_topics():
        assert topic.text.startswith("# ")
        assert len(topic.title) <= 90


@pytest.mark.parametrize("name", ["commands.md", "http-api.md", "settings.md"])
def test_generated_page_is_up_to_date(name: str, pages: dict[str, str]) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")
    assert committed == pages[name], "run: python -m tests.docs.generate"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return generated_pages()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_relative_links_resolve(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, fragment = link.partition("#")
        if "://" in path:
            continue
        target = document.parent / path if path else document
        assert target.exists(), link
        if fragment:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert fragment in map(anchor, headings), link


def test_readme_is_short_enough_to_read_to_the_end() -> None:
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 200
    assert max(len(cell) for line in lines if line[:1] == "|" for cell in line.split("|")) <= 80


def test_readme_names_every_topic() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in TOPICS if f"(gallery/guide/{name}.md)" not in readme] == []


def test_guide_command_lists_topics(run: Run) -> None:
    ran = run("guide")
    assert ran.status == 0
    assert [line.split()[0] for line in ran.out.splitlines()[1:]] == list(TOPICS)


def test_guide_command_prints_each_topic(run: Run) -> None:
    for topic in read_topics():
        assert run("guide", topic.name).out == topic.text
        assert run("guide", topic.name, "--json").line == {
            "topic": topic.name,
            "title": topic.title,
            "text": topic.text,
        }


def test_unknown_topic_is_an_error_that_names_the_topics(run: Run) -> None:
    ran = run("guide", "nothing")
    assert ran.status == 2
    assert all(name in ran.err for name in TOPICS)


def test_each_topic_opens_over_http_without_a_key(serve: Serve, tmp_path: Path, run: Run) -> None:
    assert run("keys", "create", "desk").status == 0
    with serve(tmp_path / "home") as client:
        contents = client.get("/guide")
        for topic in read_topics():
            assert f'href="./guide/{topic.name}"' in contents.text
            page = client.get(f"/guide/{topic.name}")
            assert page.status_code == 200
            assert page.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in page.headers["content-security-policy"]
            _check_page(page, client)
        assert "/guide" not in client.get("/v1/openapi.json").json()["paths"]


def test_unknown_topic_over_http_is_a_page_that_lists_the_topics(
    serve: Serve, tmp_path: Path
) -> None:
    with serve(tmp_path / "home") as client:
        missing = client.get("/guide/<b>nothing", headers={"accept": "text/html"})
        assert missing.status_code == 404
        assert missing.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in missing.headers["content-security-policy"]
        assert "&lt;b&gt;nothing" in missing.text
        assert "<b>" not in missing.text
        assert all(f'href="../guide/{name}"' in missing.text for name in TOPICS)
        _check_page(missing, client)


def _check_page(page: httpx.Response, client: httpx.Client) -> None:
    """No script, style, image or address elsewhere; links lead to pages that exist."""
    elsewhere = r"<(script|style|img|iframe)|\sstyle=|(src|href)=\"(/|[a-z]+:)"
    assert not re.search(elsewhere, page.text)
    links = re.findall(r'href="([^"#]*)#?([^"]*)"', page.text)
    assert links
    for path, fragment in links:
        answer = client.get(page.url.join(path))
        assert answer.status_code == 200, path
        assert f'id="{fragment}"' in answer.text or not fragment, (path, fragment)


def test_raw_html_and_scripts_are_shown_as_text() -> None:
    text = "# Title\n\n<script>alert(1)</script> [x](javascript:alert(1)) ![y](http://z/y.png)\n"
    page = topic_page(Topic("page", "<b>Title</b>", text))
    assert "<script>" not in page
    assert "javascript:alert(1)</p>" in page or "javascript" not in page or "(javascript" in page
    assert "<img" not in page
    assert "&lt;b&gt;Title" in page
