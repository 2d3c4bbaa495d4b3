"""The API's types: schema, scheme, defaults, validation, selectors and errors. Pure: no I/O, no clock."""
