"""OpenAPI: what the API looks like, for `kubectl explain`, client-side validation and apply, and code generators.

`schemas.py` makes the types' schemas and `operations.py` the list of operations, both from the schema tables; `v3.py`
and `v2.py` write them down in one dialect each, `v2_protobuf.py` turns the latter into protobuf, and `service.py`
serves the documents.
"""

from __future__ import annotations

from apiserver.endpoints.openapi.custom import custom_type_name, custom_version_document
from apiserver.endpoints.openapi.schemas import Dialect, Schemas
from apiserver.endpoints.openapi.service import OpenAPI, Provider

__all__ = ["Dialect", "OpenAPI", "Provider", "Schemas", "custom_type_name", "custom_version_document"]
