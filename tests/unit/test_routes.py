"""The route table and the handlers say the same, and no handler forgets who is asking."""

from __future__ import annotations

import re

import pytest

from chatserver import errors
from chatserver.services.access import Need
from chatserver.web.handlers.openapi import OpenApiHandler
from chatserver.web.handlers.session import SessionHandler
from chatserver.web.http.base_handler import ApiHandler, Handler
from chatserver.web.http.error_responses import STATUSES, error_response, status_of
from chatserver.web.routes import BESIDE_THE_API, ROUTES


def test_every_operation_of_the_api_needs_a_role() -> None:
    """Who has no session asks for one, and the operator reads the document; all others show who they are."""
    for route in ROUTES:
        for method in route.operations:
            need = route.handler.needs[method]
            if route.handler is SessionHandler:
                assert need is Need.NOTHING
            elif route.handler is OpenApiHandler:
                assert need is Need.OPERATOR
            else:
                assert need.role is not None, route.path
                assert issubclass(route.handler, ApiHandler)


def test_a_handler_that_does_not_say_what_it_needs_cannot_be_defined() -> None:
    with pytest.raises(TypeError, match="Forgetful does not say what PUT needs"):

        class Forgetful(Handler, GET=Need.READER):
            def get(self) -> None: ...
            def put(self) -> None: ...

    with pytest.raises(TypeError, match="Open has a method that needs no role"):

        class Open(ApiHandler, GET=Need.NOTHING):
            def get(self) -> None: ...


def test_every_handler_guards() -> None:
    handlers = [handler for _, handler in BESIDE_THE_API] + [route.handler for route in ROUTES]
    assert all(handler.prepare in (Handler.prepare, ApiHandler.prepare) for handler in handlers)


def test_the_table_has_the_methods_of_the_handlers() -> None:
    for route in ROUTES:
        implemented = set(route.handler.allowed_methods()) - {"HEAD", "OPTIONS"}
        assert set(route.operations) == implemented, route.path


def test_every_route_is_under_api_and_there_once() -> None:
    assert len({route.path for route in ROUTES}) == len(ROUTES)
    assert all(route.path.startswith("/api/") for route in ROUTES)
    for route in ROUTES:
        path = re.sub(r"{\w+}", "x", route.path)
        assert [other.path for other in ROUTES if re.fullmatch(other.pattern, path)] == [route.path]


def test_parameters_take_anything_but_a_slash() -> None:
    for route in ROUTES:
        names = re.findall(r"{(\w+)}", route.path)
        match = re.fullmatch(route.pattern, re.sub(r"{\w+}", "%2F~ä", route.path))
        assert match is not None
        assert match.groups() == ("%2F~ä",) * len(names)


def test_success_has_a_body_unless_it_is_204() -> None:
    for route in ROUTES:
        for operation in route.operations.values():
            assert operation.status in (200, 201, 204)
            assert (operation.status == 204) == (not operation.responses)


def all_errors(kind: type[errors.ChatServerError] = errors.ChatServerError) -> set[type[errors.ChatServerError]]:
    return {kind}.union(*(all_errors(each) for each in kind.__subclasses__()))


def test_every_error_of_a_client_has_a_status() -> None:
    others = (errors.ProviderError, errors.ConfigurationError)
    for kind in all_errors() - {errors.ChatServerError}:
        assert issubclass(kind, (*STATUSES, *others)), kind


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.ValidationError(), 400),
        (errors.MalformedError(), 400),
        (errors.NotSignedInError(), 401),
        (errors.ForbiddenError(), 403),
        (errors.NotFoundError(), 404),
        (errors.ConflictError(), 409),
        (errors.BodyTooLargeError(), 413),
        (errors.UnsupportedMediaTypeError(), 415),
        (errors.UnprocessableError(), 422),
        (errors.RateLimitedError(), 429),
        (errors.UnavailableError(), 503),
        (errors.DatabaseUnavailableError(), 503),
        (errors.ChatServerError("inner"), 500),
        (errors.ProviderError("internal", "inner"), 500),
        (ValueError("inner"), 500),
        (KeyError("inner"), 500),
        (None, 500),
    ],
)
def test_errors_have_their_statuses(error: BaseException | None, status: int) -> None:
    assert status_of(error) == status
    answered, body = error_response(error)
    assert answered == status
    if status == 500:
        assert (body.error, body.details) == ("Internal server error", None)


def test_details_are_those_of_validation() -> None:
    error = errors.ValidationError([errors.Problem("a.b", "is bad")])
    assert error_response(error)[1].model_dump(by_alias=True) == {
        "error": "Validation error",
        "details": [{"path": "a.b", "message": "is bad"}],
    }
