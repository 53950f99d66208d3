// The AI SDK with its provider for OpenAI's API, as its documentation shows it.
import {load, report} from "./node_packages.mjs";

const [{streamText, AISDKError}, version] = await load("ai");
const [{createOpenAI}, provider] = await load("@ai-sdk/openai");

async function ask() {
  const openai = createOpenAI({baseURL: process.env.OPENAI_BASE_URL});
  const leave = Number(process.env.GRADE_LEAVE_AFTER) || Infinity;
  const aborting = new AbortController();
  let text = "", pieces = 0, failed;
  try {
    const {textStream} = streamText({
      model: openai.chat(process.env.GRADE_MODEL),
      prompt: process.env.GRADE_PROMPT,
      abortSignal: aborting.signal,
      onError({error}) { failed = error; },
    });
    for await (const piece of textStream) {
      text += piece;
      pieces += 1;
      if (pieces >= leave) {
        aborting.abort();
        return {outcome: "left", text};
      }
    }
    if (failed) throw failed;
  } catch (error) {
    const typed = AISDKError.isInstance(error);
    return {outcome: "error", error: error?.name ?? String(error), typed, text};
  }
  return {outcome: "complete", text};
}

await report({ai: version, "@ai-sdk/openai": provider}, ask);
