"""Which objects a list, a watch or a policy is about: by label and by field."""

from apiserver.api.field_selectors import (
    FieldRequirement,
    FieldSelector,
    convert_field_selector,
    escape_field_value,
    field_getter,
    parse_field_selector,
)
from apiserver.api.label_selectors import (
    LabelRequirement,
    LabelSelector,
    SelectorError,
    label_selector_from_object,
    label_selector_from_set,
    parse_label_selector,
)

__all__ = [
    "FieldRequirement",
    "FieldSelector",
    "LabelRequirement",
    "LabelSelector",
    "SelectorError",
    "convert_field_selector",
    "escape_field_value",
    "field_getter",
    "label_selector_from_object",
    "label_selector_from_set",
    "parse_field_selector",
    "parse_label_selector",
]
