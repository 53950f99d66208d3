// OpenAI's client for Node, as its documentation shows it; the protocol is in __init__.py.
const OpenAI = require("openai");
const {VERSION} = require("openai/version");

const versions = {openai: VERSION, node: process.versions.node};

async function main() {
  const client = new OpenAI.default();
  const leave = Number(process.env.GRADE_LEAVE_AFTER) || Infinity;
  let text = "", found = {outcome: "complete"};
  try {
    const stream = await client.chat.completions.create({
      model: process.env.GRADE_MODEL,
      messages: [{role: "user", content: process.env.GRADE_PROMPT}],
      stream: true,
    });
    let pieces = 0;
    for await (const chunk of stream) {
      const content = chunk.choices[0]?.delta?.content;
      if (content) {
        text += content;
        pieces += 1;
      }
      if (pieces >= leave) {
        found = {outcome: "left"};
        break;
      }
    }
  } catch (error) {
    const typed = error instanceof OpenAI.OpenAIError;
    found = {outcome: "error", error: error.constructor.name, typed};
  }
  console.log(JSON.stringify({...found, text, versions}));
  process.stdin.resume();
}

main();
