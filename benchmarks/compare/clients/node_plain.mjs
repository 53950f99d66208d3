// A plain Node client: http module, split on newlines, JSON.parse, an EventEmitter for each stream
// and a semaphore in front, as a Node user would write it without a library.
import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";

const job = {
  rounds: 1,
  stamped: false,
  hold: false,
  ca: null,
  model: "bench",
  timed: false,
  fresh: false,
  ...JSON.parse(process.argv[2]),
};
const url = new URL(`${job.base}/chat/completions`);
const secure = url.protocol === "https:";
const body = JSON.stringify({
  model: job.model,
  messages: [{ role: "user", content: "hi" }],
  stream: true,
});
const agent = new (secure ? https : http).Agent({
  keepAlive: !job.fresh,
  maxSockets: Infinity,
  ...(job.fresh ? { maxCachedSessions: 0 } : {}), // a whole handshake for each connection
  ...(job.ca ? { ca: readFileSync(job.ca) } : {}),
});
const options = {
  method: "POST",
  agent,
  headers: { "content-type": "application/json", "content-length": Buffer.byteLength(body) },
};

const say = (state, more = {}) => console.log(JSON.stringify({ state, ...more }));
const rest = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
let tokens = 0;
let begun = 0;
const delays = [];
const firstMs = [];
let firstAt = 0n;
let lastAt = 0n;

class Stream extends EventEmitter {
  start() {
    this.request = (secure ? https : http).request(url, options, (response) => {
      let rest = "";
      response.setEncoding("utf8");
      response.on("data", (data) => {
        const lines = (rest + data).split("\n");
        rest = lines.pop();
        for (const line of lines) this.line(line);
      });
      response.on("end", () => this.emit("end"));
      response.on("error", (error) => this.emit("failed", error));
    });
    this.request.on("error", (error) => this.emit("failed", error));
    this.request.end(body);
    return this;
  }

  line(line) {
    if (!line.startsWith("data: ") || line === "data: [DONE]") return;
    const text = JSON.parse(line.slice(6)).choices[0].delta.content;
    if (text) this.emit("token", text);
  }

  cancel() {
    this.request.destroy();
  }
}

class Semaphore {
  constructor(slots) {
    this.slots = slots;
    this.waiting = [];
  }

  acquire() {
    if (this.slots-- > 0) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  release() {
    this.slots++;
    this.waiting.shift()?.();
  }
}

function saw(text) {
  tokens++;
  if (job.stamped) {
    delays.push(Number(process.hrtime.bigint() - BigInt(text.slice(2))) / 1000);
  }
}

function time(stream) {
  const started = process.hrtime.bigint();
  stream.once("token", () => firstMs.push(Number(process.hrtime.bigint() - started) / 1e6));
  stream.on("token", () => {
    lastAt = process.hrtime.bigint();
    firstAt ||= lastAt;
  });
}

const slots = new Semaphore(job.streams);

async function one() {
  await slots.acquire();
  try {
    await new Promise((resolve, reject) => {
      const stream = new Stream();
      if (job.timed) time(stream);
      stream.on("token", saw).on("end", resolve).on("failed", reject);
      stream.start();
    });
  } finally {
    slots.release();
  }
}

async function hold() {
  const streams = [];
  await new Promise((resolve) => {
    for (let i = 0; i < job.streams; i++) {
      const stream = new Stream();
      stream.closed = new Promise((closed) => stream.on("failed", closed).on("end", closed));
      stream.on("token", saw);
      stream.once("token", () => ++begun === job.streams && resolve());
      streams.push(stream.start());
    }
  });
  say("held");
  await rest(0.5);
  const before = process.cpuUsage();
  for (const stream of streams) stream.cancel();
  await Promise.all(streams.map((stream) => stream.closed));
  const used = process.cpuUsage(before);
  say("cancelled", { cpu: (used.user + used.system) / 1e6 });
  await rest(0.5);
}

function quantiles() {
  if (!delays.length) return null;
  const ordered = Float64Array.from(delays).sort();
  const at = (q) => ordered[Math.floor(q * (ordered.length - 1))];
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}

if (job.hold) await hold();
else await Promise.all(Array.from({ length: job.streams * job.rounds }, one));
const timings = { first_ms: firstMs, span: Number(lastAt - firstAt) / 1e9 };
say("done", { tokens, latency_us: quantiles(), ...(job.timed ? timings : {}) });
agent.destroy();
