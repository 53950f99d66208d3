"""curator's own way for many prompts: an `LLM` over a dataset, with its limits and its retries.

python curator_loop.py IN OUT URL AT_ONCE
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

# Its tokenizer comes from the network; litellm, which it needs, has the same file with it.
import litellm

os.environ["TIKTOKEN_CACHE_DIR"] = str(
    Path(litellm.__file__).parent / "litellm_core_utils" / "tokenizers"
)
os.environ |= {"TELEMETRY_ENABLED": "0", "CURATOR_DISABLE_RICH_DISPLAY": "1"}

from bespokelabs import curator
from datasets import Dataset


class Answers(curator.LLM):  # type: ignore[misc]
    """Each row's prompt, and the text that came."""

    def prompt(self, row: dict[str, Any]) -> str:
        return str(row["prompt"])

    def parse(self, row: dict[str, Any], response: str) -> dict[str, Any]:
        return {"custom_id": row["custom_id"], "text": response}


def main(source: str, out: str, url: str, at_once: int) -> None:
    with open(source) as lines:
        rows = [json.loads(line) for line in lines]
    model = rows[0]["body"]["model"]
    answers = Answers(
        model_name=model,
        backend="openai",
        backend_params={
            "base_url": url,
            "api_key": "any",
            "max_concurrent_requests": at_once,
            "max_tokens_per_minute": 10_000_000,
            "require_all_responses": False,
        },
    )
    prompts = [
        {"custom_id": row["custom_id"], "prompt": row["body"]["messages"][0]["content"]}
        for row in rows
    ]
    found = answers(Dataset.from_list(prompts), working_dir=f"{out}.cache")
    with open(out, "w") as file:
        for row in found.dataset if hasattr(found, "dataset") else found:
            if row["text"] is not None:
                file.write(json.dumps({"custom_id": row["custom_id"], "text": row["text"]}) + "\n")


if __name__ == "__main__":
    source, out, url, at_once = sys.argv[1:]
    main(source, out, url, int(at_once))
