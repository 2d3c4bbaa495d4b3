"""Defaults: what the API server writes into an object that its author left out.

Kubernetes defaults an object in the version it arrived in, right after decoding and again after mutating admission, so
every function here works in place on canonical dicts and may be applied any number of times.

`Defaults(scheme).function(type_name)` compiles the declared defaults and the rules of the schema tables for a type and
everything below it into closures; rules that need more than a path, a value and a condition are functions in `core`,
`apps` and `other`, found by type name in `SPECIAL`.
"""

from apiserver.api.defaults.engine import Defaults
from apiserver.api.defaults.zero import zero_value

__all__ = ["Defaults", "zero_value"]
