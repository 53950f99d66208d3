"""OpenAI's client for Python, blocking, as its documentation shows it."""

import json
import sys
import time

from openai import OpenAI

base, model, timeout = sys.argv[1:]
options = {"timeout": float(timeout)} if timeout else {}
text, end = "", "whole"
began = time.monotonic()
with OpenAI(base_url=base, api_key="none", **options) as client:
    try:
        messages = [{"role": "user", "content": "hi"}]
        for chunk in client.chat.completions.create(model=model, messages=messages, stream=True):
            if chunk.choices and chunk.choices[0].delta.content:
                text += chunk.choices[0].delta.content
    except Exception as error:  # noqa: BLE001 - whatever it raises is the result
        end = type(error).__name__
print(json.dumps({"text": text, "end": end, "seconds": time.monotonic() - began}))
