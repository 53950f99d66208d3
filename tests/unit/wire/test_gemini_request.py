"""A request in the words of Google's Gemini API."""

import json
from typing import Any

import pytest

from streamnursery.values.errors import RequestError
from streamnursery.values.origin import BaseUrl
from streamnursery.values.request import ChatRequest
from streamnursery.values.returned import KEY
from streamnursery.values.settings import Endpoint
from streamnursery.wire.gemini.client import Gemini
from streamnursery.wire.gemini.content import UNSIGNED

HERE = Endpoint("e", BaseUrl.parse("https://generativelanguage.googleapis.com/v1beta"))
DIALECT = Gemini()
USER = {"role": "user", "content": "Why?"}
WHY = {"role": "user", "parts": [{"text": "Why?"}]}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at":"x"}'}}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "seen"}


def body(messages: Any = "Why?", *, model: str = "gemini-3-pro", **fields: Any) -> dict[str, Any]:
    request = ChatRequest("m", messages, **fields)
    made: dict[str, Any] = json.loads(DIALECT.encode(request, HERE, model))
    return made


def contents(*messages: Any, **fields: Any) -> Any:
    return body([USER, *messages], **fields)["contents"][1:]


def refusal(messages: Any = "Why?", **fields: Any) -> str:
    with pytest.raises(RequestError) as caught:
        body(messages, **fields)
    return str(caught.value)


def test_a_plain_question() -> None:
    assert body() == {"contents": [WHY]}
    assert DIALECT.auth == "x-goog-api-key"


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-3-pro", "/models/gemini-3-pro"),
        ("a model?x=1", "/models/a%20model%3Fx%3D1"),
        ("tunedModels/mine", "/tunedModels/mine"),
    ],
)
def test_the_model_stands_in_the_path(model: str, path: str) -> None:
    asked = DIALECT.path(ChatRequest(model, "Hi"), model)
    assert asked == f"{path}:streamGenerateContent?alt=sse"


def test_the_systems_words_are_its_instruction() -> None:
    made = body([
        {"role": "system", "content": "Be brief."},
        USER,
        {"role": "developer", "content": ["And kind."]},
    ])
    assert made["contents"] == [WHY]
    assert made["systemInstruction"] == {"parts": [{"text": "Be brief."}, {"text": "And kind."}]}


def test_results_are_told_by_their_functions_names_in_one_content() -> None:
    other = {"id": "c2", "function": {"name": "listen", "arguments": ""}}
    found = contents(
        {"role": "assistant", "content": "Wait.", "tool_calls": [CALL, other]},
        RESULT,
        {"role": "tool", "tool_call_id": "c2", "content": '{"heard": 1}'},
        {"role": "user", "content": "And?"},
        model="gemini-2.5-flash",
    )
    assert found == [
        {
            "role": "model",
            "parts": [
                {"text": "Wait."},
                {"functionCall": {"id": "c1", "name": "look", "args": {"at": "x"}}},
                {"functionCall": {"id": "c2", "name": "listen", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "look", "response": {"result": "seen"}}},
                {"functionResponse": {"id": "c2", "name": "listen", "response": {"heard": 1}}},
            ],
        },
        {"role": "user", "parts": [{"text": "And?"}]},
    ]


def test_ids_that_were_made_here_are_not_sent_back() -> None:
    call = {**CALL, "id": "gemini-r1-0-0"}
    (said, told) = contents(
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {
            "role": "tool",
            "tool_call_id": "gemini-r1-0-0",
            "content": [{"type": "text", "text": "x"}],
        },
    )
    assert "id" not in said["parts"][0]["functionCall"]
    assert told["parts"][0]["functionResponse"] == {"name": "look", "response": {"result": "x"}}


def test_a_result_that_is_no_text_is_refused_and_not_cut() -> None:
    image = {"type": "image_url", "image_url": "https://e.test/a.png"}
    messages = [
        USER,
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {**RESULT, "content": ["Look:", image]},
    ]
    assert refusal(messages) == "messages[2]: the result of a tool is text in the Gemini API"


def test_images_and_files_are_told_as_the_api_does() -> None:
    parts = [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}},
        {"type": "image_url", "image_url": "https://e.test/a.png"},
        {"type": "file", "file": {"file_data": "data:application/pdf;base64,QUJD"}},
        {"type": "input_audio", "input_audio": {"data": "QUJD", "format": "wav"}},
        {"videoMetadata": {"fps": 1}},
    ]
    (told,) = contents({"role": "user", "content": parts})
    assert told["parts"] == [
        {"inlineData": {"mimeType": "image/png", "data": "QUJD"}},
        {"fileData": {"fileUri": "https://e.test/a.png"}},
        {"inlineData": {"mimeType": "application/pdf", "data": "QUJD"}},
        {"inlineData": {"mimeType": "audio/wav", "data": "QUJD"}},
        {"videoMetadata": {"fps": 1}},
    ]


def test_parameters_have_the_apis_names() -> None:
    made = body(
        max_tokens=9,
        temperature=0.5,
        top_p=0.9,
        stop=["END"],
        seed=3,
        n=2,
        extra={"generationConfig": {"topK": 4, "seed": 5}, "safetySettings": []},
    )
    assert made["generationConfig"] == {
        "maxOutputTokens": 9,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["END"],
        "seed": 5,
        "candidateCount": 2,
        "topK": 4,
    }
    assert made["safetySettings"] == []


def test_tools_and_their_choice() -> None:
    schema = {"type": "object", "properties": {}}
    functions = [
        {
            "type": "function",
            "function": {"name": "look", "description": "d", "parameters": schema},
        },
        {"googleSearch": {}},
        {"type": "function", "function": {"name": "bare"}},
    ]
    declared = [
        {"name": "look", "description": "d", "parametersJsonSchema": schema},
        {"name": "bare"},
    ]
    assert body(tools=functions)["tools"] == [
        {"functionDeclarations": declared},
        {"googleSearch": {}},
    ]
    for ours, mode in {"auto": "AUTO", "required": "ANY", "none": "NONE"}.items():
        assert body(tool_choice=ours)["toolConfig"] == {"functionCallingConfig": {"mode": mode}}
    named = body(tool_choice={"type": "function", "function": {"name": "look"}})["toolConfig"]
    assert named == {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look"]}}


@pytest.mark.parametrize(
    ("model", "effort", "told"),
    [
        ("gemini-2.5-flash", "low", {"thinkingBudget": 1024, "includeThoughts": True}),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0, "includeThoughts": False}),
        ("gemini-3-pro", "high", {"thinkingLevel": "HIGH", "includeThoughts": True}),
        ("gemini-10", "none", {"thinkingLevel": "MINIMAL", "includeThoughts": False}),
    ],
)
def test_effort_is_a_budget_or_a_level_by_the_model(model: str, effort: str, told: Any) -> None:
    made = body(model=model, reasoning_effort=effort)
    assert made["generationConfig"]["thinkingConfig"] == told


def test_formats() -> None:
    schema = {"type": "object"}
    told = {"responseMimeType": "application/json", "responseJsonSchema": schema}
    asked = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert body(response_format=asked)["generationConfig"] == told
    plain = body(response_format={"type": "json_object"})["generationConfig"]
    assert plain == {"responseMimeType": "application/json"}
    assert body(response_format={"type": "text"}) == body()


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"user": "u"}, "no user"),
        ({"metadata": {"a": "b"}}, "no metadata"),
        ({"response_format": {"type": "xml"}}, "response_format must be"),
        ({"tool_choice": "sometimes"}, "tool_choice 'sometimes' is none of"),
        ({"reasoning_effort": "huge"}, "reasoning_effort 'huge' is none of"),
    ],
)
def test_what_the_api_has_no_word_for_is_refused(fields: dict[str, Any], told: str) -> None:
    assert told in refusal(**fields)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "function", "content": "x"}, "no role 'function'"),
        (RESULT, "of a call in an earlier message"),
        ({"role": "user", "content": 5}, "must be text or a list of parts"),
        ({"role": "user", "content": [5]}, "holds a int"),
        ({"role": "user", "content": [{"type": "hologram"}]}, "no part of type 'hologram'"),
        ({"role": "user", "content": [{"type": "image_url"}]}, "needs its data or its url"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": "data:x,y"}]},
            "must be base64",
        ),
        ({"role": "assistant", "tool_calls": [{"id": "c"}]}, "needs a 'function'"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "x{"}}]},
            "are no JSON object",
        ),
    ],
)
def test_a_message_it_has_no_word_for_is_named(message: dict[str, Any], told: str) -> None:
    said = refusal([USER, message])
    assert said.startswith("messages[1]")
    assert told in said


def test_signatures_come_back_on_the_parts_that_they_sign() -> None:
    image = {"inlineData": {"mimeType": "image/png", "data": "QUJD"}}
    held = {
        "dialect": "gemini",
        "reasoning": "Hm.",
        "parts": [
            {"kind": "thoughtSignature", "data": "c2ln", "tool": 0},
            {"kind": "inlineData", "data": image, "text": 4},
            {
                "kind": "thoughtSignature",
                "data": {"signature": "dGV4dA", "characters": 3},
                "text": 9,
            },
            {"kind": "groundingMetadata", "data": {}, "text": 9},
        ],
    }
    message = {"role": "assistant", "content": "One. Two.", "tool_calls": [CALL], KEY: held}
    (told,) = contents(message)
    assert told["parts"] == [
        {"text": "One."},
        image,
        {"text": " T"},
        {"text": "wo.", "thoughtSignature": "dGV4dA"},
        {
            "functionCall": {"id": "c1", "name": "look", "args": {"at": "x"}},
            "thoughtSignature": "c2ln",
        },
    ]


def test_each_call_gets_its_own_signature() -> None:
    other = {"id": "c2", "function": {"name": "listen", "arguments": "{}"}}
    parts = [
        {"kind": "thoughtSignature", "data": f"c2ln{place}", "tool": place} for place in (1, 7)
    ]
    held = {"dialect": "gemini", "parts": parts}
    (told,) = contents({
        "role": "assistant",
        "content": None,
        "tool_calls": [CALL, other],
        KEY: held,
    })
    assert [part.get("thoughtSignature") for part in told["parts"]] == [None, "c2ln1"]


def test_calls_of_other_models_are_told_as_unsigned_where_signatures_are_asked_for() -> None:
    other = {"id": "c2", "function": {"name": "listen", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [CALL, other]}
    (told,) = contents(message)
    assert [part.get("thoughtSignature") for part in told["parts"]] == [UNSIGNED, None]
    (told,) = contents(message, model="gemini-2.5-pro")
    assert [part.get("thoughtSignature") for part in told["parts"]] == [None, None]
