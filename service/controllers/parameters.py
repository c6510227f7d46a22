"""Query parameters, held against what the contract says of them."""

import re
from typing import Any

from litestar import Request

from service.contract import contract
from service.errors import BAD_REQUEST, ServiceError
from service.pages.handlers import query


class Parameters:
    """The query parameters of one operation of the contract."""

    def __init__(self, method: str, path: str) -> None:
        document = contract().document
        self._schemas: dict[str, dict[str, Any]] = {}
        for parameter in document["paths"][path][method].get("parameters", ()):
            if "$ref" in parameter:
                parameter = document["components"]["parameters"][parameter["$ref"].rpartition("/")[2]]
            if parameter["in"] == "query":
                self._schemas[parameter["name"]] = parameter["schema"]

    def text(self, request: Request[Any, Any, Any], name: str) -> str | None:
        """Returns the parameter; None if it is not there. Raises ServiceError (400) if the contract forbids it."""
        schema = self._schemas[name]
        values = [value for found, value in query(request) if found == name]
        if not values:
            return None
        (value, *more) = values
        least, most = schema.get("minLength", 0), schema.get("maxLength", len(value))
        if more or not (least <= len(value) <= most and re.search(schema.get("pattern", ""), value)):
            raise ServiceError(BAD_REQUEST, f"The query parameter {name} is not valid.")
        return value

    def number(self, request: Request[Any, Any, Any], name: str) -> int:
        """Returns the parameter, by default the contract's default. Raises ServiceError (400) as `text` does."""
        schema = self._schemas[name]
        value = self.text(request, name)
        if value is None:
            return int(schema["default"])
        if not re.fullmatch(r"[0-9]{1,9}", value) or not schema["minimum"] <= int(value) <= schema["maximum"]:
            raise ServiceError(
                BAD_REQUEST,
                f"The query parameter {name} has to be a number from {schema['minimum']} to {schema['maximum']}.",
            )
        return int(value)
