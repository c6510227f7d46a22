"""openapi.yaml as data: its bytes, its version, and the operations it promises."""

from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import yaml

# In a wheel it lies beside this module, in a checkout at the top.
_HERE = Path(__file__).resolve().parent
_FILE = next(path for folder in (_HERE, _HERE.parent) if (path := folder / "openapi.yaml").exists())
# Those that OpenAPI knows.
METHODS = frozenset({"GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"})


class Contract(msgspec.Struct, frozen=True):
    """`source` is the file, byte for byte; `json` the same document as JSON."""

    source: bytes
    json: bytes
    document: dict[str, Any]

    @property
    def version(self) -> str:
        return str(self.document["info"]["version"])

    @property
    def routes(self) -> set[tuple[str, str]]:
        """Returns all (method, path) pairs, the method in upper case."""
        return {
            (method.upper(), path)
            for path, item in self.document["paths"].items()
            for method in item
            if method.upper() in METHODS
        }

    def max_body_bytes(self, path: str, method: str = "post") -> int:
        """Returns the most bytes that the body of this operation may have."""
        return int(self.document["paths"][path][method]["x-max-body-bytes"])

    @property
    def file_extensions(self) -> list[str]:
        """Returns the extensions of the files that Coze accepts, without their dot, in lower case."""
        return list(self.document["components"]["schemas"]["UploadRequest"]["properties"]["file"]["x-file-extensions"])


@cache
def contract() -> Contract:
    source = _FILE.read_bytes()
    document = yaml.load(source, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506 - both are safe loaders
    return Contract(source=source, json=msgspec.json.encode(document), document=document)
