"""The topics of an app's types as an AsyncAPI 3 document, made of their schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from schemas.registry import Schema
from streams.aggregate_type import AggregateType
from streams.deciding.messages import AVRO, JSON
from streams.kafka.topics import events_topic

AVRO_FORMAT = "application/vnd.apache.avro+json;version=1.9.0"
Document = dict[str, Any]

_TEXT = {"type": "string"}
_COMMAND_HEADERS = {
    "ce_type": "The name of the command; without it the value is a CloudEvent in structured mode",
    "ce_id": "The command id: sent again with it, a command has no second effect",
    "ce_source": "Not looked at",
    "ce_specversion": "Not looked at",
    "ce_replyto": "The topic of the reply",
    "ce_replykey": "The key of the reply",
    "ce_correlationid": "Handed on to the events",
    "ce_traceparent": "Handed on to the events",
    "ce_deadline": "After this time it is not decided any more (RFC 3339, with time zone)",
    "ce_expectedsequence": "Decided only while the newest event of the aggregate has this number; `*`: if there is one",
    "content-type": f"{JSON} or {AVRO}",
}
_EVENT_HEADERS = {
    "ce_id": "The id of the event: whoever has seen it leaves it out",
    "ce_type": "The name of the event",
    "ce_source": "The context",
    "ce_subject": "The aggregate id",
    "ce_time": "When it was recorded",
    "ce_sequence": "The number of the event within its aggregate, from 1",
    "ce_position": "Where it stands: stream, commit, place in it",
    "ce_previous": "The position of the event before it in its stream",
    "ce_correlationid": "As the command had it",
    "ce_causationid": "The id of the command",
    "ce_dataschema": "Name, version and fingerprint of its schema",
    "content-type": "What the value is",
}
_REPLY = {
    "type": "object",
    "required": ["command_id", "status"],
    "properties": {
        "command_id": _TEXT,
        "status": {"type": "string", "enum": ["accepted", "rejected", "failed"]},
        "aggregate": {"type": ["object", "null"]},
        "events": {"type": "array", "items": _TEXT},
        "position": {"type": ["string", "null"]},
        "error": {"type": ["object", "null"], "properties": {"type": _TEXT, "message": _TEXT}},
    },
}


def document(types: Iterable[AggregateType], title: str) -> Document:
    """What an AsyncAPI 3.0 document says of these aggregate types.

    The commands that clients may send to each, the replies, and the events that it publishes, with the newest schemas;
    of process managers also the topics that they hear.
    """
    channels: dict[str, Any] = {"replies": _replies()}
    messages: dict[str, Any] = {
        "Reply": {"name": "Reply", "contentType": JSON, "payload": _REPLY, "summary": "What became of a command"}
    }
    operations: dict[str, Any] = {}
    servers: dict[str, Any] = {}
    for type in types:
        name, settings = type.decider.type, type.settings
        for number, address in enumerate(settings.bootstrap_servers):
            servers[f"broker{number}"] = {"host": address, "protocol": "kafka"}
        sent = {command: type.schemas.newest(command) for command in sorted(type.accepts)}
        facts = {event: type.schemas.newest(event) for event in sorted(type.decider.events)}
        if sent:
            messages |= {f"{name}.{one}": _message(schema, _COMMAND_HEADERS) for one, schema in sent.items()}
            channels[f"{name}-commands"] = _channel(type.commands_topic, name, sent, settings.partitions)
            operations[f"{name}.decide"] = {
                **_operation("receive", f"{name}-commands", sent, name),
                "reply": {
                    "address": {"location": "$message.header#/ce_replyto"},
                    "channel": {"$ref": "#/channels/replies"},
                },
            }
        messages |= {f"{name}.{one}": _message(schema, _EVENT_HEADERS) for one, schema in facts.items()}
        channels[f"{name}-events"] = _channel(events_topic(settings.namespace, name), name, facts, settings.partitions)
        operations[f"{name}.publish"] = _operation("send", f"{name}-events", facts, name)
        for heard in sorted(type.process.hears if type.process else ()):
            address = events_topic(settings.namespace, heard)
            channels.setdefault(f"{heard}-events", {"address": address, "messages": {}})
            operations[f"{name}.hear.{heard}"] = {
                "action": "receive",
                "channel": {"$ref": f"#/channels/{heard}-events"},
            }
    return {
        "asyncapi": "3.0.0",
        "info": {"title": title, "version": _version()},
        "defaultContentType": AVRO,
        "servers": servers,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages},
    }


def _replies() -> Document:
    return {
        "address": None,
        "description": "The topic that a command names in `ce_replyto`",
        "messages": {"Reply": {"$ref": "#/components/messages/Reply"}},
    }


def _channel(address: str, type: str, messages: Mapping[str, Schema], partitions: int) -> Document:
    return {
        "address": address,
        "description": f"The key is the id of the {type}; partition: murmur2 of it",
        "messages": {name: {"$ref": f"#/components/messages/{type}.{name}"} for name in messages},
        "bindings": {"kafka": {"partitions": partitions, "bindingVersion": "0.5.0"}},
    }


def _operation(action: str, channel: str, messages: Mapping[str, Schema], type: str) -> Document:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{channel}"},
        "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
        "tags": [{"name": type}],
    }


def _message(schema: Schema, headers: Mapping[str, str]) -> Document:
    """A command or event as it stands on its topic."""
    described = {"summary": doc} if (doc := _said(schema)) else {}
    return {
        "name": schema.name,
        **described,
        "contentType": AVRO,
        "headers": {
            "type": "object",
            "properties": {name: {"type": "string", "description": text} for name, text in headers.items()},
        },
        "payload": {"schemaFormat": AVRO_FORMAT, "schema": _json(schema)},
        "bindings": {"kafka": {"key": _TEXT, "bindingVersion": "0.5.0"}},
    }


def _said(schema: Schema) -> str:
    return " ".join(str(_json(schema).get("doc", "")).split())


def _json(schema: Schema) -> Document:
    found: Document = msgspec.json.decode(schema.json)
    return found


def _version() -> str:
    try:
        return version("sourced-streams")
    except PackageNotFoundError:  # run from its folder, not installed
        return "0"
