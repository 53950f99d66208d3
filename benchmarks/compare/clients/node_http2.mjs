// Node's http2 module by hand: one session, split on newlines, JSON.parse.
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import { all, body, hold, job, report, url } from "./job.mjs";

const session = http2.connect(url.origin, job.ca ? { ca: readFileSync(job.ca) } : {});
const fixed = {
  ":method": "POST",
  ":path": url.pathname,
  "content-type": "application/json",
};

function start(answer) {
  const stream = session.request(fixed);
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (data) => {
    const lines = (rest + data).split("\n");
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
  });
  stream.end(body());
  return stream;
}

const one = (answer) =>
  new Promise((resolve, reject) => start(answer).on("end", resolve).on("error", reject));

function held(answer) {
  const stream = start(answer);
  const closed = new Promise((resolve) => stream.on("close", resolve).on("error", resolve));
  return { stream, closed };
}

if (job.hold) await hold(held, ({ stream }) => stream.close(http2.constants.NGHTTP2_CANCEL));
else await all(one);
report();
session.close();
