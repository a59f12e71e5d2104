"""Schemas of structs, with what Litestar leaves out: closed structs, and the limits of what may be absent."""

import msgspec
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar._openapi.schema_generation.schema import SchemaCreator
from litestar.openapi.spec import OpenAPIType, Reference, Schema
from litestar.typing import FieldDefinition
from msgspec import inspect

_NUMBERS = (inspect.IntType, inspect.FloatType)
_KINDS = {
    inspect.IntType: OpenAPIType.INTEGER,
    inspect.FloatType: OpenAPIType.NUMBER,
    inspect.StrType: OpenAPIType.STRING,
}


class StructSchemas(StructSchemaPlugin):
    """Litestar's schemas of msgspec structs, made as strict as the structs are."""

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """Return the schema of a struct."""
        schema = super().to_openapi_schema(field_definition, schema_creator)
        info = inspect.type_info(field_definition.type_)
        if isinstance(info, inspect.StructType):
            if info.forbid_unknown_fields:
                schema.additional_properties = False
            for field in info.fields:
                if isinstance(field.type, inspect.UnionType):
                    _limit((schema.properties or {})[field.encode_name], field.type)
        return schema


def _limit(schema: Schema | Reference, union: inspect.UnionType) -> None:
    """Give each choice of a union the limits of its type."""
    choices = schema.one_of if isinstance(schema, Schema) and schema.one_of else []
    for wanted in union.types:
        for choice in choices:
            if isinstance(choice, Schema) and choice.type == _KINDS.get(type(wanted), msgspec.UNSET):
                _set_limits(choice, wanted)


def _set_limits(choice: Schema, wanted: inspect.Type) -> None:
    if isinstance(wanted, _NUMBERS):
        choice.minimum, choice.maximum = wanted.ge, wanted.le
        choice.exclusive_minimum, choice.exclusive_maximum = wanted.gt, wanted.lt
    elif isinstance(wanted, inspect.StrType):
        choice.min_length, choice.max_length = wanted.min_length, wanted.max_length
        choice.pattern = wanted.pattern
