// fetch with eventsource-parser, as its documentation shows it.
import {load, report} from "./node_packages.mjs";

const [{createParser}, version] = await load("eventsource-parser");

async function ask() {
  const leave = Number(process.env.GRADE_LEAVE_AFTER) || Infinity;
  const aborting = new AbortController();
  let text = "", pieces = 0, done = false, left = false;
  const parser = createParser({
    onEvent(event) {
      if (event.data === "[DONE]") {
        done = true;
        return;
      }
      const content = JSON.parse(event.data).choices?.[0]?.delta?.content;
      if (content) {
        text += content;
        pieces += 1;
      }
    },
  });
  try {
    const response = await fetch(`${process.env.OPENAI_BASE_URL}/chat/completions`, {
      method: "POST",
      signal: aborting.signal,
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
      },
      body: JSON.stringify({
        model: process.env.GRADE_MODEL,
        messages: [{role: "user", content: process.env.GRADE_PROMPT}],
        stream: true,
      }),
    });
    if (!response.ok) return {outcome: "error", error: `status ${response.status}`, typed: true, text};
    const decoder = new TextDecoder();
    for await (const data of response.body) {
      parser.feed(decoder.decode(data, {stream: true}));
      if (done) break;
      if (pieces >= leave) {
        left = true;
        aborting.abort();
        break;
      }
    }
  } catch (error) {
    if (left) return {outcome: "left", text};
    return {outcome: "error", error: error.name, typed: false, text};
  }
  return {outcome: left ? "left" : "complete", text};
}

await report({"eventsource-parser": version}, ask);
