"""The body of Anthropic's Messages API as fields of a request in the OpenAI shape."""

import json
from collections.abc import Mapping
from typing import Any

_RENAMED = {"stop_sequences": "stop"}


def from_anthropic(params: Mapping[str, Any]) -> dict[str, Any]:
    """`params` of a line of a Message Batch. Blocks that the OpenAI shape has no place for go on as
    they are: an endpoint of the same API understands them."""
    fields = {_RENAMED.get(name, name): value for name, value in params.items()}
    system = fields.pop("system", None)
    messages: list[dict[str, Any]] = []
    if system:
        messages.append({"role": "system", "content": _text(system)})
    for message in fields.get("messages") or ():
        if isinstance(message, Mapping):
            messages += _messages(message)
    if messages:
        fields["messages"] = messages
    if isinstance(fields.get("tools"), list):
        fields["tools"] = [_tool(tool) for tool in fields["tools"]]
    return fields


def _text(content: object) -> object:
    if isinstance(content, list) and all(
        isinstance(block, Mapping) and block.get("type") == "text" and len(block) == 2
        for block in content
    ):
        return "\n\n".join(str(block["text"]) for block in content)
    return content


def _messages(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One message, and one of the role `tool` for each result in it."""
    content = message.get("content")
    if not isinstance(content, list):
        return [dict(message)]
    results, calls, rest = [], [], []
    for block in content:
        kind = block.get("type") if isinstance(block, Mapping) else None
        if kind == "tool_result":
            results.append({
                "role": "tool",
                "tool_call_id": block.get("tool_use_id"),
                "content": _text(block.get("content", "")),
            })
        elif kind == "tool_use":
            function = {"name": block.get("name"), "arguments": json.dumps(block.get("input", {}))}
            calls.append({"id": block.get("id"), "type": "function", "function": function})
        else:
            rest.append(_part(block))
    if rest or calls:
        own: dict[str, Any] = {
            "role": message.get("role"),
            "content": _text(rest) if rest else None,
        }
        if calls:
            own["tool_calls"] = calls
        results.append(own)
    return results


def _part(block: object) -> object:
    if isinstance(block, Mapping) and block.get("type") == "image":
        source = block.get("source")
        if isinstance(source, Mapping):
            url = source.get("url") or (
                f"data:{source.get('media_type')};base64,{source.get('data')}"
            )
            return {"type": "image_url", "image_url": {"url": url}}
    return block


def _tool(tool: object) -> object:
    if isinstance(tool, Mapping) and "input_schema" in tool:
        function = {
            "name": tool.get("name"),
            "description": tool.get("description", ""),
            "parameters": tool["input_schema"],
        }
        return {"type": "function", "function": function}
    return tool
