"""The WSGI application: the routes, and what they have in common. At a port of its own, as Globus has it."""

from __future__ import annotations

import logging

from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException

from nodexfer.errors import ServiceUnreachable
from nodexfer.sandbox.compute.errors import Refused, render
from nodexfer.sandbox.compute.routes import routes
from nodexfer.sandbox.compute.work import Service
from nodexfer.sandbox.model import COMPUTE_SERVER
from nodexfer.sandbox.service import guard
from nodexfer.sandbox.service.errors import ApiError
from nodexfer.sandbox.world import World

log = logging.getLogger(__name__)

#: A batch of the SDK has many tasks in it.
BODY_LIMIT = 256 * 1024 * 1024
#: What anybody may ask.
_OPEN = ("/v2/version",)


def make(served: World, service: Service) -> Flask:
    app = Flask(__name__)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.extensions["sandbox"] = served
    app.extensions["compute"] = service
    app.register_blueprint(routes)
    app.before_request(_before)
    app.register_error_handler(Refused, render)
    app.register_error_handler(ApiError, _fault)
    app.register_error_handler(ServiceUnreachable, _no_broker)
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _bug)
    return app


def _before() -> None:
    guard.answer_for_faults()
    if request.path in _OPEN:
        return
    token = guard.find_token(COMPUTE_SERVER)
    if token is None:
        raise Refused(401, "USER_UNAUTHENTICATED", "You must be logged in to perform this function.")
    g.identity = token.identity


def _fault(error: ApiError) -> Response:
    """A fault that was set for these paths, in the words of this service."""
    return render(Refused(error.status, error.code, error.message), error.headers)


def _no_broker(error: ServiceUnreachable) -> Response:
    return render(Refused(503, "INTERNAL_ERROR", str(error)))


def _http_error(error: HTTPException) -> Response:
    return render(Refused(error.code or 500, "REQUEST_MALFORMED", error.description or error.name))


def _bug(error: Exception) -> Response:
    log.error("%s %s: a bug of the sandbox", request.method, request.path, exc_info=error)
    return render(Refused(500, "INTERNAL_ERROR", f"A bug of the sandbox: {type(error).__name__}: {error}"))
