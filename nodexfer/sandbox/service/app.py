"""The WSGI application: all routes, and what they have in common."""

from __future__ import annotations

import logging

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from nodexfer.sandbox.accounts import Refused
from nodexfer.sandbox.service import admin, auth, endpoints, guard, operations, people, submit, tasks
from nodexfer.sandbox.service.context import world
from nodexfer.sandbox.service.errors import ApiError, render, request_id
from nodexfer.sandbox.world import World

log = logging.getLogger(__name__)

#: A submission of a hundred thousand items fits.
BODY_LIMIT = 256 * 1024 * 1024


def make(served: World) -> Flask:
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of the default provider
    app.extensions["sandbox"] = served
    for module in (endpoints, operations, submit, tasks):
        app.register_blueprint(module.routes)
    for module in (auth, people, admin):
        app.register_blueprint(module.routes)
    app.before_request(_before)
    app.after_request(_after)
    app.register_error_handler(ApiError, render)
    app.register_error_handler(guard.Unauthorized, auth.unauthorized)
    app.register_error_handler(Refused, auth.refused)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)
    return app


def _before() -> None:
    if not request.path.startswith("/sandbox/"):
        world().requests.add()
    guard.answer_for_faults()
    if request.path.startswith("/v0.10/"):
        guard.need_transfer_token()


def _after(response: Response) -> Response:
    response.headers["X-Globus-Request-Id"] = request_id()
    log.debug("%s %s %s %s", g.get("identity", "-"), request.method, request.full_path, response.status)
    return response


def _http_error(error: HTTPException) -> Response:
    """404 for a route that is not there, 405, 413: in the words of the Transfer API."""
    status = error.code or 500
    code = "ClientError.NotFound" if status == 404 else f"ClientError.{(error.name or 'Error').replace(' ', '')}"
    return render(ApiError(status, code, error.description or error.name))


def _bug(error: Exception) -> Response:
    log.error("%s %s: a bug of the sandbox", request.method, request.path, exc_info=error)
    return render(ApiError(500, "InternalError", f"A bug of the sandbox: {type(error).__name__}: {error}"))
