"""The page of a simulated provider's requests, at `/` of its server.

Rule 1: all that a client sent is escaped; the page has no script, and its policy allows none.
Rule 2: no key is on it: the log keeps whether it was right, and no more.
Rule 3: on the loopback it answers to names of this machine only (`serving.local_names`).
Rule 4: it is made in slices, so that no paced answer waits for it.
"""

from collections.abc import AsyncIterator, Iterable
from html import escape
from itertools import islice
from typing import Final

import trio

from streamnursery.serving.call import Answering, Handler, ServerCall, Unlogged
from streamnursery.serving.head import RequestHead
from streamnursery.serving.local_names import is_local
from streamnursery.simulator.log import RequestRecord
from streamnursery.simulator.provider import Provider

SHOWN: Final = 1000
_PATHS: Final = ("/", "/favicon.ico")
_TEXT: Final = 600
"""Characters of an answer."""
_SLICE: Final = 50
_PLAIN: Final = ("content-type", "text/plain; charset=utf-8")
_HEADERS: Final = (
    ("content-type", "text/html; charset=utf-8"),
    ("cache-control", "no-store"),
    (
        "content-security-policy",
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
)
_STYLE: Final = """
:root { color-scheme: light dark; --line: #8884; --bad: #b3261e; --dim: #777; }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --dim: #999; } }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem auto; max-width: 90rem;
       padding: 0 1rem; }
h1 { font-size: 1.25rem; margin: 0; }
p { margin: .25rem 0 1rem; color: var(--dim); }
.rows { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .3rem .6rem; border-top: 1px solid var(--line);
         vertical-align: top; white-space: nowrap; }
th { border-top: 0; font-weight: 600; }
.n { text-align: right; }
.bad { color: var(--bad); }
.faults, details { white-space: normal; overflow-wrap: anywhere; }
.faults { min-width: 6rem; }
details { min-width: 18rem; max-width: 40rem; }
summary { cursor: pointer; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem .75rem; margin: .4rem 0; }
dt { color: var(--dim); }
dd { margin: 0; white-space: pre-wrap; }
"""
_HEAD: Final = """\
<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: requests</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
{refresh}<style>{style}</style></head><body>
<h1>Requests of the simulated provider {name}</h1>
<p>{count:,} in all, {now:,} in progress; the last {shown:,}, the newest first. {link}</p>
<div class="rows"><table>
<tr><th class="n">#</th><th class="n">at, s</th><th>request</th><th>model</th><th>faults</th>
<th class="n">status</th><th class="n">tokens</th><th class="n">bytes</th>
<th class="n">first token, ms</th><th class="n">took, ms</th><th>ended</th></tr>
"""
_RELOAD: Final = '<a href="/?reload">reload every 2 s</a>'
_STOP: Final = '<a href="/">stop reloading</a>'
_FOOT: Final = "</table></div></body></html>\n"


async def page(provider: Provider, *, reloads: bool = False) -> str:
    """The HTML of the last `SHOWN` requests, the newest first."""
    return "".join([part async for part in _parts(provider, reloads=reloads)])


async def _parts(provider: Provider, *, reloads: bool) -> AsyncIterator[str]:
    log = provider.log
    records = list(islice(reversed(log), SHOWN))
    start = trio.current_time() - provider.elapsed(trio.current_time())
    yield _HEAD.format(
        name=escape(provider.name),
        style=_STYLE,
        refresh='<meta http-equiv="refresh" content="2">' if reloads else "",
        link='<a href="/">stop reloading</a>'
        if reloads
        else '<a href="/?reload">reload every 2 s</a>',
        count=len(log) + log.dropped,
        now=sum(record.ended_at is None for record in records),
        shown=len(records),
    )
    for number, record in enumerate(records):
        if number % _SLICE == _SLICE - 1:
            await trio.lowlevel.checkpoint()
        yield _row(record, start)
    yield _FOOT


def _row(record: RequestRecord, start: float) -> str:
    faults = ", ".join(fault.name for fault in record.script)
    ending = record.ending or "in progress"
    refused = (record.status or 0) >= 400
    ill = refused or ending not in ("complete", "in progress", "socket")
    asked = f"{record.method} {record.path[:200]}{' (stream)' if record.stream else ''}"
    before = (("n", str(record.number)), ("n", f"{record.received_at - start:.3f}"))
    after = (
        ("", record.model or ""),
        ("faults", faults),
        ("n bad" if refused else "n", str(record.status or "")),
        ("n", f"{record.sent_tokens:,}"),
        ("n", f"{record.sent_bytes:,}"),
        ("n", _ms(record.first_token_at, record.received_at)),
        ("n", _ms(record.ended_at, record.received_at)),
        ("bad" if ill else "", ending),
    )
    return f"<tr>{_cells(before)}<td>{_details(record, asked)}</td>{_cells(after)}</tr>\n"


def _cells(cells: Iterable[tuple[str, str]]) -> str:
    """Of class and text."""
    return "".join(f'<td class="{kind}">{escape(text)}</td>' for kind, text in cells)


def _details(record: RequestRecord, asked: str) -> str:
    key = "" if record.credential == "missing" else f"•••• ({record.credential})"
    meant = record.intended() if record.reply else ""
    pairs = [("id", record.id), ("authorization", key or "missing"), *record.headers.items()]
    if meant:
        more = f" ... ({len(meant):,} characters)" if len(meant) > _TEXT else ""
        pairs.append(("meant", meant[:_TEXT] + more))
    inner = "".join(f"<dt>{escape(name)}</dt><dd>{escape(text)}</dd>" for name, text in pairs)
    return f"<details><summary>{escape(asked)}</summary><dl>{inner}</dl></details>"


def _ms(at: float | None, start: float) -> str:
    return "" if at is None else f"{(at - start) * 1000:,.1f}"


class PageHandler:
    """Answers `/` with the page, and leaves all else to the provider's handler."""

    def __init__(self, provider: Provider, below: Handler, *, loopback: bool) -> None:
        self.provider = provider
        self._below = below
        self._loopback = loopback

    def begin(self, call: ServerCall) -> Answering:
        if call.head.target.partition("?")[0] not in _PATHS:
            return self._below.begin(call)
        return _Page(self)

    def problem(self, head: RequestHead) -> tuple[int, str] | None:
        """Why a request is not answered, with its status."""
        if head.method not in ("GET", "HEAD"):
            return 405, "Ask with GET."
        named = dict(head.headers)
        if self._loopback and not is_local(named.get("host", named.get(":authority", ""))):
            return 403, "Ask by a name of this machine: localhost or 127.0.0.1."
        if head.target.startswith("/favicon.ico"):
            return 404, "There is none."
        return None


class _Page(Unlogged):
    def __init__(self, handler: PageHandler) -> None:
        self._handler = handler

    async def serve(self, call: ServerCall) -> None:
        await call.body()
        problem = self._handler.problem(call.head)
        if problem is not None:
            status, message = problem
            await call.reply(status, [_PLAIN], f"{message}\n".encode())
            return
        reloads = call.head.target.partition("?")[2] == "reload"
        text = await page(self._handler.provider, reloads=reloads)
        await call.reply(200, list(_HEADERS), text.encode())
