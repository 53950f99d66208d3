// A plain Node client: http module, split on newlines, JSON.parse, an EventEmitter for each stream
// and a semaphore in front, as a Node user would write it without a library.
import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { all, body, hold, job, report, secure, url } from "./job.mjs";

const agent = new (secure ? https : http).Agent({
  keepAlive: !job.fresh,
  maxSockets: Infinity,
  ...(job.fresh ? { maxCachedSessions: 0 } : {}), // a whole handshake for each connection
  ...(job.ca ? { ca: readFileSync(job.ca) } : {}),
});

class Stream extends EventEmitter {
  start() {
    const sent = Buffer.from(body());
    const headers = { "content-type": "application/json", "content-length": sent.length };
    const options = { method: "POST", agent, headers };
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
    this.request.end(sent);
    return this;
  }

  line(line) {
    if (!line.startsWith("data: ")) return;
    if (line === "data: [DONE]") {
      this.emit("done");
      return;
    }
    const text = JSON.parse(line.slice(6)).choices[0]?.delta.content;
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

const slots = new Semaphore(job.streams);

async function one(answer) {
  await slots.acquire();
  try {
    await new Promise((resolve, reject) => {
      const stream = new Stream();
      stream.on("token", (text) => answer.saw(text));
      stream.on("done", () => (answer.ended = true));
      stream.on("end", resolve).on("failed", reject);
      stream.start();
    });
  } finally {
    slots.release();
  }
}

function held(answer) {
  const stream = new Stream();
  stream.closed = new Promise((closed) => stream.on("failed", closed).on("end", closed));
  stream.on("token", (text) => answer.saw(text));
  return stream.start();
}

if (job.hold) await hold(held, (stream) => stream.cancel());
else await all(one);
report();
agent.destroy();
