"""Schemas of structs that refuse fields they do not know: the document says so."""

import msgspec
from litestar._openapi.schema_generation.plugins.struct import StructSchemaPlugin
from litestar._openapi.schema_generation.schema import SchemaCreator
from litestar.openapi.spec import Schema
from litestar.typing import FieldDefinition


class StructSchemas(StructSchemaPlugin):
    """Litestar's schemas of msgspec structs, closed where the struct is."""

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: SchemaCreator) -> Schema:
        """Return the schema of a struct."""
        schema = super().to_openapi_schema(field_definition, schema_creator)
        if isinstance(schema, Schema):
            info = msgspec.inspect.type_info(field_definition.type_)
            if isinstance(info, msgspec.inspect.StructType) and info.forbid_unknown_fields:
                schema.additional_properties = False
        return schema
