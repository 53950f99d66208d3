"""The parallel script of OpenAI's cookbook, as the package parareq has it.

python cookbook_script.py IN OUT URL RPM
"""

import json
import os
import sys
import types
from pathlib import Path

# Its tokenizer comes from the network; litellm has the same file with it.
import litellm

os.environ["TIKTOKEN_CACHE_DIR"] = str(
    Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
)
# The package reads its author's key.
secret = types.ModuleType("synthgpt.secret")
secret.OPENAI_API_KEY = "any"  # type: ignore[attr-defined]
sys.modules |= {"synthgpt": types.ModuleType("synthgpt"), "synthgpt.secret": secret}

from parareq import parareq  # noqa: E402 - after what it asks for

# It knows the path of https alone.
parareq.api_endpoint_from_url = lambda _: "chat/completions"


def main(source: str, out: str, url: str, rpm: int) -> None:
    asked, saved = Path(f"{out}.asked.jsonl"), Path(f"{out}.saved.jsonl")
    with open(source) as lines, asked.open("w") as file:
        for line in map(json.loads, lines):
            file.write(json.dumps({**line["body"], "metadata": {"id": line["custom_id"]}}) + "\n")
    parareq.APIRequestProcessor(
        requests_filepath=str(asked),
        save_filepath=str(saved),
        request_url=f"{url}/chat/completions",
        max_requests_per_minute=rpm,
        max_tokens_per_minute=10_000_000,
        logging_level=40,
    ).run()
    found = saved if saved.exists() else Path(f"{out}.saved_with_errors.jsonl")
    with open(out, "w") as file, found.open() as answers:
        for _, answer, about in map(json.loads, answers):
            if isinstance(answer, dict):
                text = answer["choices"][0]["message"]["content"]
                file.write(json.dumps({"custom_id": about["id"], "text": text}) + "\n")


if __name__ == "__main__":
    source, out, url, rpm = sys.argv[1:]
    main(source, out, url, int(rpm))
