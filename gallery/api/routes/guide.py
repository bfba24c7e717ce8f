"""`/guide`: the manual as HTML, open without a key like the page itself."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from gallery.errors import SettingInvalid
from gallery.guide.html import missing_topic_page, topic_page, topics_page
from gallery.guide.topics import read_topic, read_topics


def routes(headers: dict[str, str]) -> APIRouter:
    """The routes of the guide. headers : sent with each page."""
    router = APIRouter(
        prefix="/guide", include_in_schema=False, default_response_class=HTMLResponse
    )

    @router.get("")
    def list_topics() -> HTMLResponse:
        return HTMLResponse(topics_page(read_topics()), headers=headers)

    @router.get("/{topic}")
    def show_topic(topic: str) -> HTMLResponse:
        try:
            page = read_topic(topic)
        except SettingInvalid:
            missing = missing_topic_page(topic, read_topics())
            return HTMLResponse(missing, HTTPStatus.NOT_FOUND, headers)
        return HTMLResponse(topic_page(page), headers=headers)

    return router
