"""The engine against llmock, which breaks its answers and judges its clients."""

import json
from collections import Counter
from pathlib import Path

import pytest
import trio

from streamnursery import ChatRequest
from tests.support.peers import INSTALLED, asking, free_port, needs, serving

LLMOCK = "llmock/bin/llmock"
pytestmark = [pytest.mark.contract, needs(LLMOCK)]
QUIET = ("--log-level", "warning", "--response-style", "echo")


def requests(count: int) -> list[ChatRequest]:
    """All different: it takes equal ones for retries of each other."""
    return [
        ChatRequest("gpt-4o", [{"role": "user", "content": f"say number {i}"}])
        for i in range(count)
    ]


async def test_its_verdict_on_retries_is_clean(tmp_path: Path) -> None:
    rates = ("400=0.04", "401=0.04", "429=0.03", "500=0.08", "503=0.08")
    flags = [word for rate in rates for word in ("--error-rate", rate)]
    port = free_port()
    words = ("serve", "--port", str(port), *QUIET, *flags)
    with serving(port, tmp_path, INSTALLED / LLMOCK, *words) as url:
        async with asking(url, "gpt-4o", attempts=5) as eng:
            outcomes = await eng.settle(requests(120))
        ends = Counter("complete" if o.ok else type(o.error).__name__ for o in outcomes)
        report = [str(INSTALLED / LLMOCK), "report", "--json", "--url", url.removesuffix("/v1")]
        judged = await trio.run_process(report, capture_stdout=True, check=False)
    print(f"llmock's refusals: {dict(ends)}")
    assert ends["complete"] > 80
    assert ends.keys() <= {"complete", "AuthError", "RequestError", "ContentError"}
    verdict = json.loads(judged.stdout)
    assert judged.returncode == 0, verdict
    found = [finding for finding in verdict["findings"] if finding["severity"] == "error"]
    assert found == []


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ("truncate", "TruncatedStreamError"),
        ("disconnect", "ConnectionLostError"),
        ("malformed", "MalformedChunkError"),
        ("stall", "IdleTimeoutError"),
    ],
)
async def test_a_stream_that_it_breaks_is_never_taken_for_whole(
    tmp_path: Path, fault: str, error: str
) -> None:
    port = free_port()
    flags = ("--stream-fault", f"{fault}=0.5", "--stream-stall-seconds", "5")
    words = ("serve", "--port", str(port), *QUIET, *flags)
    with serving(port, tmp_path, INSTALLED / LLMOCK, *words) as url:
        async with asking(url, "gpt-4o", idle=1.0) as eng:
            outcomes = await eng.settle(requests(60))
    # After so many failures the route may be left alone for a while, and nothing is sent.
    sent = [o for o in outcomes if o.error is None or o.error.attempts]
    ends = Counter("whole" if o.ok else type(o.error).__name__ for o in sent)
    print(f"llmock's {fault}: {dict(ends)}, {len(outcomes) - len(sent)} not sent")
    assert ends.keys() == {"whole", error}
    lengths = {len(o.completion.text.split()) for o in outcomes if o.completion is not None}
    assert len(lengths) == 1
