// What the clients in JavaScript share: the job, its count, its checks and its report, as job.py.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

export const job = {
  rounds: 1,
  stamped: false,
  hold: false,
  ca: null,
  model: "bench",
  timed: false,
  fresh: false,
  prompts: null,
  ...JSON.parse(process.argv[2]),
};
export const url = new URL(`${job.base}/chat/completions`);
export const secure = url.protocol === "https:";
export const say = (state, more = {}) => console.log(JSON.stringify({ state, ...more }));
export const rest = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));

const prompts = job.prompts
  ? readFileSync(job.prompts, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line))
  : null;
let requests = 0;
let tokens = 0;
let ended = 0;
let begun = 0;
let said = null;
const delays = [];
const firstMs = [];
const requestCpuUs = [];
let origin = 0n;
let firstAt = 0n;
let lastAt = 0n;

// For a runtime whose hrtime does not begin where CLOCK_MONOTONIC does, with which tokens are stamped.
export function setClock(monotonic) {
  origin = monotonic - process.hrtime.bigint();
}

export function cpu() {
  const used = process.cpuUsage();
  return used.user + used.system;
}

// The body of the next request.
export function body() {
  const number = requests++;
  return JSON.stringify({
    model: job.model,
    messages: [
      { role: "user", content: prompts ? `${number} ${prompts[number % prompts.length]}` : "hi" },
    ],
    stream: true,
    stream_options: { include_usage: true },
  });
}

// One answer: a client calls `saw` with the text of each token and sets `ended` at its end.
export class Answer {
  constructor() {
    this.parts = [];
    this.ended = false;
    this.began = job.timed ? process.hrtime.bigint() : 0n;
    this.cpu = job.timed ? cpu() : 0;
    this.first = true;
  }

  saw(text) {
    this.parts.push(text);
    if (job.timed) this.time();
    if (job.stamped) {
      const now = process.hrtime.bigint() + origin;
      delays.push(Number(now - BigInt(text.slice(2))) / 1000);
    }
  }

  time() {
    lastAt = process.hrtime.bigint();
    firstAt ||= lastAt;
    if (this.first) firstMs.push(Number(lastAt - this.began) / 1e6);
    this.first = false;
  }

  over() {
    if (job.timed) requestCpuUs.push(cpu() - this.cpu);
    if (!this.ended) throw new Error("the client did not see the end of an answer");
    ended++;
    tokens += this.parts.length;
    if (job.stamped || job.model !== "bench") return;
    const text = this.parts.join("");
    said ??= text;
    if (text !== said) throw new Error(`${text} is not what the answers before said`);
  }
}

// `start` begins an answer and gives what it returns to `cancel`; it calls `saw` as usual, and
// resolves when the answer is gone.
export async function hold(start, cancel) {
  const streams = [];
  await new Promise((resolve) => {
    for (let i = 0; i < job.streams; i++) {
      const answer = new Answer();
      let first = true;
      answer.saw = () => {
        tokens++;
        if (first && ++begun === job.streams) resolve();
        first = false;
      };
      streams.push(start(answer));
    }
  });
  say("held");
  await rest(0.5);
  const before = cpu();
  for (const stream of streams) cancel(stream);
  await Promise.all(streams.map((stream) => stream.closed));
  say("cancelled", { cpu: (cpu() - before) / 1e6 });
  await rest(0.5);
}

function quantiles() {
  if (!delays.length) return null;
  const ordered = Float64Array.from(delays).sort();
  const at = (q) => ordered[Math.floor(q * (ordered.length - 1))];
  return { p50: at(0.5), p99: at(0.99), p999: at(0.999) };
}

export function report() {
  const more = job.timed
    ? { first_ms: firstMs, request_cpu_us: requestCpuUs, span: Number(lastAt - firstAt) / 1e9 }
    : {};
  if (said !== null) more.text = createHash("sha256").update(said).digest("hex");
  say("done", { tokens, ended, latency_us: quantiles(), ...more });
}

// All requests of a job that holds nothing: `one` makes a request and takes its answer to the end.
export async function all(one) {
  const worker = async () => {
    for (let i = 0; i < job.rounds; i++) {
      const answer = new Answer();
      await one(answer);
      answer.over();
    }
  };
  await Promise.all(Array.from({ length: job.streams }, worker));
}
