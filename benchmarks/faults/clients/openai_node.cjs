// OpenAI's client for Node, as its documentation shows it.
const OpenAI = require(process.env.OPENAI_NODE).default;
const [base, model, timeout] = process.argv.slice(2);
const options = timeout ? {timeout: Number(timeout) * 1000} : {};
const client = new OpenAI({baseURL: base, apiKey: "none", ...options});
(async () => {
  let text = "", end = "whole";
  const began = performance.now();
  try {
    const messages = [{role: "user", content: "hi"}];
    const stream = await client.chat.completions.create({model, messages, stream: true});
    for await (const chunk of stream) text += chunk.choices[0]?.delta?.content ?? "";
  } catch (error) {
    end = error.constructor.name;
  }
  console.log(JSON.stringify({text, end, seconds: (performance.now() - began) / 1000}));
})();
