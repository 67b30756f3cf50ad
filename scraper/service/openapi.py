"""The OpenAPI 3.1 document, made of the table of operations."""

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from scraper.service.operations import PUBLIC, Operation
from scraper.service.problems import MEDIA_TYPE as PROBLEM
from scraper.settings import VERSION

_COMMON = (400, 401, 403, 404, 421, 429, 500, 503)
_WITH_BODY = (408, 413, 415, 422)
_NAMES = re.compile(r"{(\w+)}")


def document(operations: Iterable[Operation]) -> dict[str, Any]:
    """What the service does, for programs that write clients and tests."""
    paths: dict[str, dict[str, Any]] = {}
    for one in operations:
        paths.setdefault(one.path, {})[one.method.lower()] = _operation(one)
    return {
        "openapi": "3.1.0",
        "info": {"title": "scraper", "version": VERSION, "description": "Polite fetches, runs and records."},
        "paths": paths,
        "components": {
            "schemas": {"Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(one: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": _id_of(one),
        "summary": one.told,
        "parameters": [*_path_params(one), *map(_param, one.params)],
        "responses": {str(status): _answer(*said) for status, said in one.answers.items()},
        "security": [] if one.scope == PUBLIC else [{"token": []}, {}],
    }
    for status in (*_COMMON, *(_WITH_BODY if one.body else ())):
        found["responses"].setdefault(str(status), _problem(status))
    if one.scope != PUBLIC:
        found["description"] = f"Scope of the token: {one.scope}."
    if one.body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": one.body}}}
    return found


def _id_of(one: Operation) -> str:
    words = [word for word in re.split(r"\W+", one.path) if word] or ["home"]
    return "_".join([one.method.lower(), *words])


def _path_params(one: Operation) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": dict(one.path_params.get(name, {"type": "string"})),
        }
        for name in _NAMES.findall(one.path)
    ]


def _param(param: Any) -> dict[str, Any]:
    place = "header" if param.is_header else "query"
    found = {"name": param.name, "in": place, "description": param.told, "schema": dict(param.schema)}
    return found | ({"required": True} if param.is_required else {})


def _answer(types: tuple[str, ...], told: str) -> dict[str, Any]:
    if not types:
        return {"description": told}
    schemas = {kind: {"schema": {"type": "object"} if kind == "application/json" else {}} for kind in types}
    return {"description": told, "content": schemas}


def _problem(status: int) -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    return {"description": HTTPStatus(status).phrase, "content": {PROBLEM: {"schema": schema}}}


_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string", "description": "What to do."},
    },
}
