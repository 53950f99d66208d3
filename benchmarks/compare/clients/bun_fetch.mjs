// Bun's fetch: the body read chunk by chunk, split on newlines, JSON.parse.
// BUN_CONFIG_MAX_HTTP_REQUESTS lifts its limit of 256 connections.
import { dlopen, ptr } from "bun:ffi";
import { all, body, hold, job, report, setClock, url } from "./job.mjs";

const target = url.href;
const fixed = {
  method: "POST",
  headers: { "content-type": "application/json" },
  keepalive: !job.fresh,
  ...(job.ca ? { tls: { ca: Bun.file(job.ca) } } : {}),
};

async function one(answer, signal) {
  const response = await fetch(target, { ...fixed, body: body(), signal });
  const decoder = new TextDecoder();
  let rest = "";
  for await (const data of response.body) {
    const lines = (rest + decoder.decode(data, { stream: true })).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      if (line === "data: [DONE]") {
        answer.ended = true;
        continue;
      }
      const text = JSON.parse(line.slice(6)).choices[0]?.delta.content;
      if (text) answer.saw(text);
    }
  }
}

function held(answer) {
  const abort = new AbortController();
  const closed = one(answer, abort.signal).catch((error) => error);
  return { abort, closed };
}

function monotonic() {
  const libc = dlopen("libc.so.6", { clock_gettime: { args: ["i32", "ptr"], returns: "i32" } });
  const time = new BigInt64Array(2);
  libc.symbols.clock_gettime(1, ptr(time));
  return time[0] * 1_000_000_000n + time[1];
}

if (job.stamped) setClock(monotonic());
if (job.hold) await hold(held, (stream) => stream.abort.abort());
else await all((answer) => one(answer));
report();
process.exit(0);
