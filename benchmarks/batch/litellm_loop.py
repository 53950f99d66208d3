"""litellm's own way for many prompts: `batch_completion`, threads and its retries.

python litellm_loop.py IN OUT URL AT_ONCE
"""

import json
import sys

import litellm


def main(source: str, out: str, url: str, at_once: int) -> None:
    with open(source) as lines:
        rows = [json.loads(line) for line in lines]
    answers = litellm.batch_completion(
        model=f"openai/{rows[0]['body']['model']}",
        messages=[row["body"]["messages"] for row in rows],
        api_base=url,
        api_key="any",
        num_retries=2,
        max_workers=at_once,
    )
    with open(out, "w") as file:
        for row, answer in zip(rows, answers, strict=True):
            if isinstance(answer, Exception):
                print(row["custom_id"], type(answer).__name__, file=sys.stderr)
                continue
            text = answer.choices[0].message.content
            file.write(json.dumps({"custom_id": row["custom_id"], "text": text}) + "\n")


if __name__ == "__main__":
    source, out, url, at_once = sys.argv[1:]
    main(source, out, url, int(at_once))
