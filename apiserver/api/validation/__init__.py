"""Validation: what is wrong with an object, as field errors in the words of kube-apiserver.

* `objectmeta`: metadata, the same for every kind.
* `schema`: the declarative tags of the API types.
* everything else: the rules of kinds, one module for a family; each function appends to a list of `FieldError`s and
  takes the path of the value, so that valid objects cost no string building.

Nothing here changes an object.
"""

from apiserver.api.validation.equality import semantic_equal
from apiserver.api.validation.objectmeta import validate_object_meta, validate_object_meta_update
from apiserver.api.validation.schema import SchemaValidator, SchemaValidators

__all__ = [
    "SchemaValidator",
    "SchemaValidators",
    "semantic_equal",
    "validate_object_meta",
    "validate_object_meta_update",
]
