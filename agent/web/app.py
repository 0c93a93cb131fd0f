"""The pages of one-click links and the health probes. A GET changes nothing; a bad token is the same 404 everywhere."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from agent.links import Described, Links
from mailflow.render import render_page
from state.store.engine import StoreUnavailable

LONGEST_BODY = 10_000  # bytes of a form
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'",
}

_PAGES: dict[str, tuple[str, str, str, str]] = {
    # action: title, message, button, done
    "unsubscribe": ("Unsubscribe", "No more mail from {organisation} to {address}?", "Unsubscribe", "You will get no more mail from {organisation}."),
    "stop": ("Stop following up", "Stop writing to {name} ({address})?", "Stop", "Nothing more is sent to {name}."),
    "name": ("Change the name", "How should {address} be addressed?", "Save", "The name is changed."),
    "sequence": ("Change the sequence", "Which sequence should {name} ({address}) get?", "Save", "The sequence is changed."),
    "not_at_risk": ("Not at risk", "Is {name} ({address}) taken care of?", "Yes", "Thank you. There will be no more reminders."),
}  # fmt: skip


def create_app(links: Links) -> Starlette:
    async def show(request: Request) -> Response:
        described = await asyncio.to_thread(links.describe, request.path_params["token"])
        return _not_found() if described is None or not _fits(request, described) else _page(described)

    async def act(request: Request) -> Response:
        token = request.path_params["token"]
        fields = await _form(request)
        if fields is None:
            return PlainTextResponse("Too large", 413)
        described = await asyncio.to_thread(links.describe, token)
        if described is None or not _fits(request, described):
            return _not_found()
        done = await asyncio.to_thread(links.act, token, fields)
        if done is None:
            return _not_found()
        return _page(described, status=400) if done == "invalid" else _done(described)

    async def endpoint(request: Request) -> Response:
        try:
            return await (act(request) if request.method == "POST" else show(request))
        except StoreUnavailable:
            return _html(
                render_page("page", {"title": "Just a moment", "message": "Please try again in a minute."}), 503
            )

    async def healthz(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def readyz(request: Request) -> Response:
        is_ready = await asyncio.to_thread(links.is_ready)
        return JSONResponse({"database": is_ready}, 200 if is_ready else 503)

    async def missing(request: Request, fault: Exception) -> Response:
        return _not_found()

    return Starlette(
        routes=[
            Route("/u/{token}", endpoint, methods=["GET", "POST"]),
            Route("/a/{token}", endpoint, methods=["GET", "POST"]),
            Route("/healthz", healthz),
            Route("/readyz", readyz),
        ],
        exception_handlers={404: missing, 405: missing},
    )


def _fits(request: Request, described: Described) -> bool:
    return (described.action == "unsubscribe") == request.url.path.startswith("/u/")


async def _form(request: Request) -> dict[str, str] | None:
    """The POST's fields; None when it is larger than any form of ours."""
    from urllib.parse import parse_qsl

    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > LONGEST_BODY:
            return None
    return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=20))


def _texts(described: Described) -> dict[str, str]:
    return {
        "organisation": described.organisation,
        "address": described.lead_address,
        "name": described.lead_name or described.lead_address,
    }


def _page(described: Described, status: int = 200) -> Response:
    title, message, button, _ = _PAGES[described.action]
    values: dict[str, Any] = {
        "title": title,
        "message": message.format_map(_texts(described)),
        "button": button,
        "action": described.action,
        "lead_name": described.lead_name,
        "sequences": described.sequences,
        "sequence": described.sequence,
    }
    return _html(render_page("action", values), status)


def _done(described: Described) -> Response:
    title, _, _, message = _PAGES[described.action]
    return _html(render_page("page", {"title": title, "message": message.format_map(_texts(described))}), 200)


def _not_found() -> Response:
    page = render_page("page", {"title": "Not found", "message": "This link is not valid, or no longer."})
    return _html(page, 404)


def _html(page: str, status: int) -> Response:
    return HTMLResponse(page, status, headers=_HEADERS)


async def serve(app: Starlette, host: str, port: int, stop: asyncio.Event, on_started: Callable[[str], None]) -> None:
    """Serve until stopped. Raises OSError when the port is taken."""
    import socket

    import uvicorn

    bound = socket.create_server((host, port))
    config = uvicorn.Config(
        app, log_config=None, access_log=False, lifespan="off", server_header=False, date_header=True
    )
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve([bound]))
    on_started(f"http://{host}:{bound.getsockname()[1]}")
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    server.should_exit = True
    await task
