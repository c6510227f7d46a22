"""The contract is valid and its examples are true; the service serves just that, and its code keeps to its seams."""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import operations
import pytest
import schemathesis
import yaml
from conftest import ROOT, Service, events_of
from envelope import STATUSES, assert_envelope, assert_error, code_of, rows
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from litestar import Litestar, get, route
from litestar.enums import HttpMethod
from operations import Operation
from referencing import Registry
from referencing.jsonschema import DRAFT202012

import generated.models
from service import app
from service.app import routes
from service.contract import contract

SOURCE = (ROOT / "openapi.yaml").read_bytes()
DOCUMENT: dict[str, Any] = yaml.load(SOURCE, Loader=yaml.CSafeLoader)
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
    if method in METHODS
}
CHATS = OPERATIONS["POST /api/v1/chat"]["requestBody"]["content"]["application/json"]["examples"]
each_operation = pytest.mark.parametrize("name", OPERATIONS)


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """`node`, or what it refers to."""
    while "$ref" in node:
        target: Any = DOCUMENT
        for key in node["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        node = target
    return node


def _content_schema(validator: Any, schema: Any, instance: object, parent: Any) -> Iterator[ValidationError]:
    """Text that holds JSON holds what its contentSchema says. JSON Schema itself leaves that to its user."""
    if not isinstance(instance, str) or parent.get("contentMediaType") != "application/json":
        return
    try:
        content = json.loads(instance)
    except ValueError as error:
        yield ValidationError(f"not JSON: {error}")
    else:
        yield from validator.descend(content, schema, schema_path="contentSchema")


Validator = extend(Draft202012Validator, {"contentSchema": _content_schema})  # type: ignore[no-untyped-call]
REGISTRY: Registry[Any] = Registry().with_resource("urn:contract", DRAFT202012.create_resource(DOCUMENT))


def validate(instance: object, pointer: str) -> None:
    """Checks `instance` against the schema that stands at `pointer` in the contract."""
    Validator({"$ref": f"urn:contract#{pointer}"}, registry=REGISTRY).validate(instance)


def examples(node: object, pointer: str = "") -> Iterator[tuple[str, object, str]]:
    """Every example in the contract: where it is, its value, and the pointer to its schema."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from examples(child, f"{pointer}/{index}")
    if not isinstance(node, dict):
        return
    if "schema" in node:
        if "example" in node:
            yield f"{pointer}/example", node["example"], f"{pointer}/schema"
        for name, example in node.get("examples", {}).items():
            yield f"{pointer}/examples/{name}", example["value"], f"{pointer}/schema"
    elif isinstance(node.get("examples"), list):
        for index, value in enumerate(node["examples"]):
            yield f"{pointer}/examples/{index}", value, pointer
    for key, child in node.items():
        if key not in ("example", "examples", "default", "const", "enum"):
            yield from examples(child, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")


EXAMPLES = list(examples(DOCUMENT))


def schemas(node: object, pointer: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property in the contract's schemas, with where it is."""
    if isinstance(node, dict):
        for name, schema in node.get("properties", {}).items():
            yield f"{pointer}/properties/{name}", schema
        for key, child in node.items():
            yield from schemas(child, f"{pointer}/{key}")


def test_the_contract_is_valid_openapi() -> None:
    assert DOCUMENT["openapi"] == "3.1.1"
    schemathesis.openapi.from_dict(DOCUMENT, config=schemathesis.Config()).validate()
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("value", "schema"), [pytest.param(v, s, id=where) for where, v, s in EXAMPLES])
def test_every_example_fits_its_schema(value: object, schema: str) -> None:
    validate(value, schema)


def test_a_wrong_example_would_be_found() -> None:
    stream = "/paths/~1api~1v1~1chat/post/responses/200/content/text~1event-stream/schema"
    validate({"data": '{"type":"end"}'}, stream)
    for wrong in ('{"type":"End"}', '{"type":"message_delta","content":"x"}', "end"):
        with pytest.raises(ValidationError):
            validate({"data": wrong}, stream)


def test_object_strings_in_examples_hold_what_their_schema_says() -> None:
    messages = [message for chat in CHATS.values() for message in chat["value"]["messages"]]
    contents = [m["content"] for m in messages if m.get("content_type") == "object_string"]
    assert contents
    for content in contents:
        validate(json.loads(content), "/components/schemas/ObjectString")


def of_examples(schema: dict[str, Any]) -> Any:
    """What tools put together for a body that has no example: the first one of each field."""
    schema = resolved(schema)
    if "properties" in schema:
        return {name: of_examples(field) for name, field in schema["properties"].items()}
    return [of_examples(schema["items"])] if "items" in schema else schema["examples"][0]


@pytest.mark.parametrize("name", [*CHATS, "of its fields' examples"])
def test_a_chat_in_the_examples_can_be_sent_as_it_is(name: str, service: Service) -> None:
    chat = CHATS[name]["value"] if name in CHATS else of_examples({"$ref": "#/components/schemas/ChatRequest"})
    answer = service.http.post("/api/v1/chat", json=chat)
    assert answer.status_code == 200, answer.text
    if chat.get("stream"):
        assert [event["type"] for event in events_of(answer.text)][-2:] == ["chat_completed", "end"]
    else:
        assert answer.json()["data"]["content"]


@pytest.mark.parametrize(("length", "status"), [(0, 400), (1, 200), (255, 200), (256, 400)])
def test_the_length_of_a_user_id_is_the_contracts(service: Service, length: int, status: int) -> None:
    # Characters, not bytes.
    assert service.chat("Hello", user_id="用" * length).status_code == status


@pytest.mark.parametrize(("name", "schema"), [pytest.param(p.split("/")[-1], s, id=p) for p, s in schemas(DOCUMENT)])
def test_every_property_says_what_it_is_and_shows_it(name: str, schema: dict[str, Any]) -> None:
    schema = resolved(schema)
    assert schema["description"].strip(), name
    # Nothing is to be shown of a null, and of a file's bytes; objects and arrays show their parts.
    if schema.get("type") not in ("null", "object", "array") and schema.get("format") != "binary":
        assert schema["examples"], name


def test_operation_ids_differ() -> None:
    ids = [operation["operationId"] for operation in OPERATIONS.values()]
    assert len(set(ids)) == len(ids)


@each_operation
def test_a_body_with_a_bound_may_be_too_large(name: str) -> None:
    operation = OPERATIONS[name]
    assert ("413" in operation["responses"]) == ("requestBody" in operation)


@each_operation
def test_every_operation_says_what_it_is(name: str) -> None:
    operation = OPERATIONS[name]
    assert len(operation["tags"]) == 1
    assert operation["tags"][0] in {tag["name"] for tag in DOCUMENT["tags"]}
    for field in ("operationId", "summary", "description"):
        assert operation[field].strip(), field
    for parameter in operation.get("parameters", []):
        assert resolved(parameter)["description"].strip()


@each_operation
def test_every_answer_has_an_example_and_its_headers(name: str) -> None:
    path = name.split()[1]
    counted = path.startswith(("/api/v1/", "/openai/"))
    responses = {int(status): resolved(response) for status, response in OPERATIONS[name]["responses"].items()}
    assert {200, 400, 500} <= set(responses)
    # A link to a file is what lets one have it: a picture on a page brings no key. A visitor's token is a first one.
    keyed = counted and not path.startswith(("/api/v1/files/", "/api/v1/visitors"))
    assert (429 in responses) == counted
    assert (401 in responses) == ({"apiKey": []} in OPERATIONS[name].get("security", [])) == keyed
    for status, response in responses.items():
        if status == 304:  # by its nature without content
            continue
        headers = set(response["headers"])
        assert "X-Request-ID" in headers, status
        assert ({"RateLimit", "RateLimit-Policy"} <= headers) == counted, status
        assert ("Retry-After" in headers) == (status in (429, 503)), status
        assert ("WWW-Authenticate" in headers) == (status == 401), status
        assert ("content" in response) == (status != 204), status
        for media in response.get("content", {}).values():
            assert media["examples"], status
            for example in media["examples"].values():
                # /health says with the same shape that all is well and that it is not.
                if status >= 400 and not (path == "/health" and status == 503):
                    assert_envelope(example["value"], path)
                    assert STATUSES[code_of(example["value"])] == status


@operations.each_operation()
def test_the_service_has_each_operation_and_no_other_method(operation: Operation, service: Service) -> None:
    promised = {method.upper() for method in DOCUMENT["paths"][operation.path] if method in METHODS}
    promised |= {"HEAD"} if "GET" in promised else set()
    address = operation.address(service.http)
    for method in {*(method.upper() for method in METHODS), "QUERY", "PROPFIND"} - {"OPTIONS"}:
        answer = service.http.request(method, address, headers={"Origin": "https://example.com"})
        if method in promised:
            assert answer.status_code not in (404, 405, 501), method
        elif method == "HEAD":
            assert (answer.status_code, answer.content) == (405, b"")
        else:
            assert_error(answer, 405)
            assert promised <= set(re.split(r",\s*", answer.headers["allow"])) <= promised | {"OPTIONS"}
    answer = service.http.options(address)
    assert (answer.status_code, set(answer.headers["allow"].split(", "))) == (204, promised | {"OPTIONS"})


def test_an_app_with_other_routes_than_the_contract_is_told_apart() -> None:
    @get("/")
    async def root() -> None: ...

    @get("/page", include_in_schema=False)
    async def page() -> None: ...

    @get("/more")
    async def more() -> None: ...

    served = routes(Litestar([root, page, more], openapi_config=None))
    assert served - contract().routes == {("GET", "/more")}
    assert ("HEAD", "/") not in served
    assert contract().routes - served == {tuple(name.split()) for name in OPERATIONS} - {("GET", "/")}
    # The start of the service, which every test here has seen, passes this.
    with pytest.raises(RuntimeError, match=re.escape("Only served: [('GET', '/more')]. Only promised: [(")):
        app.check_routes(Litestar([root, page, more], openapi_config=None))
    operations = [
        route(path.replace("}", ":str}"), http_method=HttpMethod(method)) for method, path in contract().routes
    ]
    without_head = Litestar([operation(_nothing) for operation in operations], openapi_config=None)
    with pytest.raises(RuntimeError, match=re.escape("Only served: []. Only promised: [('HEAD', '/'), ")):
        app.check_routes(without_head)


async def _nothing() -> None: ...


def test_the_contract_is_served_as_it_is(service: Service) -> None:
    answer = service.http.get("/openapi.yaml")
    assert answer.headers["content-type"].partition(";")[0] == "application/yaml"
    assert answer.content == SOURCE
    answer = service.http.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == DOCUMENT


def test_the_docs_page_needs_no_other_host(service: Service) -> None:
    page = service.http.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    for sources in policy.values():
        assert set(sources.split()) <= {"'none'", "'self'", "'unsafe-inline'", "data:", "blob:"}
    assert "'unsafe-inline'" not in policy["script-src"]
    addresses = re.findall(r"""(?:src|href|data-contract)="([^"]*)\"""", page.text)
    assert len(addresses) >= 6
    loaded = {}
    for address in addresses:
        assert address.startswith(("docs", "playground", "openapi.yaml"))
        answer = service.http.get(address)
        assert answer.status_code == 200, address
        assert answer.content
        loaded[address] = answer.headers["content-type"].partition(";")[0]
    assert {"text/javascript", "text/css", "application/json"} <= set(loaded.values())
    assert "//" not in page.text
    script = service.http.get("/docs/scalar.js", headers={"Accept-Encoding": "gzip;q=0"})
    assert "content-encoding" not in script.headers
    assert script.content == service.http.get("/docs/scalar.js").content


@pytest.mark.parametrize(
    ("query", "accepted", "language"),
    [
        ("", None, "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "fr, en;q=0.1, ZH-tw;q=0.5", "zh"),
        ("", "zh;q=0, en;q=0.1", "en"),
        ("", "*, ;q=x", "en"),
        ("?lang=zh", "en", "zh"),
        ("?lang=zh-CN", "en", "zh"),
        ("?lang=en", "zh", "en"),
        ("?lang=fr", "zh", "zh"),
    ],
)
def test_the_docs_page_speaks_the_readers_language(
    service: Service, query: str, accepted: str | None, language: str
) -> None:
    page = service.http.get(f"/docs{query}", headers={"Accept-Language": accepted} if accepted else {})
    assert f"docs/contract.{language}.json" in page.text
    assert page.headers["vary"] == "Accept-Language"


@pytest.mark.parametrize("preference", ["a" * 60_000 + "!", "a" + " " * 60_000 + "!", "a," * 30_000], ids=len)
def test_a_long_preference_holds_up_nobody(service: Service, preference: str) -> None:
    """Nothing else is answered while a header is read, and a pattern may take a minute for a hostile one."""
    for path, name in (("/docs", "Accept-Language"), ("/docs/scalar.js", "Accept-Encoding")):
        assert service.http.get(path, headers={name: preference}, timeout=10).status_code == 200


_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_TEXTS = {"description", "summary", "x-displayName", "x-enumDescriptions"}


def texts(node: object, pointer: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Every text for people in a contract: where it is, its name, and what it stands in. Examples' values are none."""
    if isinstance(node, list):
        for index, child in enumerate(node):
            yield from texts(child, f"{pointer}/{index}")
    if not isinstance(node, dict):
        return
    for key, child in node.items():
        if key in _TEXTS and not pointer.endswith("/properties"):
            yield f"{pointer}/{key}", key, node
        elif key not in ("value", "example", "default", "const", "enum"):
            yield from texts(child, f"{pointer}/{key}")


def said(text: object) -> list[str]:
    """A text's sentences, or those of each of an enumeration's values; without Coze's Chinese name, and code."""
    found = list(text.values()) if isinstance(text, dict) else [str(text)]
    return [re.sub(r"（Coze）|\(扣子\)|`[^`]*`", "", sentence) for sentence in found]


def test_every_text_is_in_english_and_beside_it_in_chinese() -> None:
    for at, name, node in texts(DOCUMENT):
        chinese = f"x-zh-{name.removeprefix('x-')}"
        assert not any(_CHINESE.search(text) for text in said(node[name])), f"Chinese belongs into {chinese}: {at}"
        assert all(_CHINESE.search(text) for text in said(node.get(chinese, ""))), f"{chinese} is missing: {at}"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_docs_page_shows_the_contract_in_one_language(service: Service, language: str) -> None:
    shown = service.http.get(f"/docs/contract.{language}.json").json()
    assert "x-zh-" not in json.dumps(shown)
    assert shown["paths"].keys() == DOCUMENT["paths"].keys()
    for at, name, node in texts(shown):
        for text in said(node[name]):
            assert bool(_CHINESE.search(text)) == (language == "zh"), at
    stream = shown["paths"]["/api/v1/chat"]["post"]["responses"]["200"]["content"]["text/event-stream"]
    assert events_of(stream["examples"]["stream"]["value"])[-1] == {"type": "end"}
    assert stream["schema"] == {"$ref": "#/components/schemas/ChatStreamEvent"}


def test_every_code_of_an_error_is_described() -> None:
    codes = DOCUMENT["components"]["schemas"]["ErrorCode"]
    for texts_of_codes in (codes["x-enumDescriptions"], codes["x-zh-enumDescriptions"]):
        assert list(texts_of_codes) == codes["enum"]
        assert len(set(texts_of_codes.values())) == len(codes["enum"])


def test_the_codes_of_errors_are_the_rows_of_their_table() -> None:
    # One more is the proxy's: see examples/nginx.
    codes = ["service_unavailable", *(row.code for row in rows())]
    assert sorted(codes) == sorted(DOCUMENT["components"]["schemas"]["ErrorCode"]["enum"])
    assert all(re.fullmatch(r"[a-z]+(_[a-z]+)*", code) for code in codes)


def test_generated_models_name_their_source() -> None:
    head = (ROOT / "generated" / "models.py").read_text(encoding="utf-8").splitlines()[:4]
    assert head[0].startswith("# generated by datamodel-codegen")
    assert "openapi.yaml" in head[1]
    assert not re.search(r"\d{4}-\d{2}-\d{2}", "".join(head)), "a time stamp makes a difference where there is none"


# The service's source files, such as service/app.py.
MODULES = sorted(file.relative_to(ROOT).as_posix() for file in (ROOT / "service").rglob("*.py"))


@pytest.mark.parametrize("path", [path for path in MODULES if not path.startswith("service/coze/")])
def test_no_shape_of_the_contract_is_defined_twice(path: str) -> None:
    promised = {
        tuple(sorted(model.__struct_fields__)): name
        for name, model in vars(generated.models).items()
        if isinstance(model, type) and issubclass(model, msgspec.Struct) and model.__struct_fields__
    }
    names = set(promised.values())
    for node in ast.walk(ast.parse((ROOT / path).read_bytes())):
        if isinstance(node, ast.ClassDef):
            fields = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
            assert node.name not in names or path.startswith("service/sandbox/")
            assert tuple(sorted(fields)) not in promised, f"{node.name} is the contract's own shape"
