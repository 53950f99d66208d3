"""litellm.completion, as its documentation shows it."""

import json
import os
import sys
import time

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # asks no server for prices
import litellm

base, model, timeout = sys.argv[1:]
options = {"timeout": float(timeout)} if timeout else {}
text, end = "", "whole"
began = time.monotonic()
try:
    chunks = litellm.completion(
        model=f"openai/{model}",
        api_base=base,
        api_key="none",
        messages=[{"role": "user", "content": "hi"}],
        stream=True,
        **options,
    )
    for chunk in chunks:
        text += chunk.choices[0].delta.content or ""
except Exception as error:  # noqa: BLE001 - whatever it raises is the result
    end = type(error).__name__
print(json.dumps({"text": text, "end": end, "seconds": time.monotonic() - began}))
