# SPDX-License-Identifier: Apache-2.0
"""The schemas of docs/formats, and the check that a document follows the one that it names."""

import json

import jsonschema
from conftest import ROOT
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

FOLDER = ROOT / "docs" / "formats"
FILES = {path.name: json.loads(path.read_text()) for path in FOLDER.glob("*.schema.json")}
NAMES = sorted(name.removesuffix(".schema.json") for name in FILES if not name.startswith("memtally.definitions"))


def strict(schema):
    """The schema, and nothing that it does not name."""
    if isinstance(schema, dict):
        schema = {key: strict(value) for key, value in schema.items()}
        if schema.get("type") == "object" and "properties" in schema:
            schema["additionalProperties"] = False
        return schema
    return [strict(item) for item in schema] if isinstance(schema, list) else schema


REGISTRY = Registry().with_resources(
    (name, Resource.from_contents(strict(schema), default_specification=DRAFT202012)) for name, schema in FILES.items())
VALIDATORS = {name: jsonschema.Draft202012Validator(strict(FILES[f"{name}.schema.json"]), registry=REGISTRY)
              for name in NAMES}


def validate(document):
    """Returns the document."""
    VALIDATORS[document["schema"]].validate(document)
    return document
