// Packages by NODE_PATH, which `import` does not look at; and the one line that a client says.
import {existsSync, readFileSync} from "node:fs";
import {delimiter, join} from "node:path";
import {pathToFileURL} from "node:url";

const folders = (process.env.NODE_PATH ?? "").split(delimiter).filter(Boolean);

/** The module of a package, and its version. */
export async function load(name) {
  const folder = folders.map((path) => join(path, name)).find(existsSync);
  if (!folder) throw new Error(`${name} is not in NODE_PATH`);
  const about = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  let entry = about.exports?.["."] ?? about.module ?? about.main;
  while (typeof entry !== "string") entry = entry.import ?? entry.node ?? entry.default;
  return [await import(pathToFileURL(join(folder, entry))), about.version];
}

/** Run `ask`, which gives what became of one stream, and say it. */
export async function report(versions, ask) {
  const found = await ask();
  console.log(JSON.stringify({...found, versions: {...versions, node: process.versions.node}}));
  process.stdin.resume();
}
