/** Generates the files that the page loads besides its code, unless they are up to date. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { declarations } from "./declarations.ts";
import { packEmoji } from "./emoji.ts";
import { repository } from "./paths.ts";

/** The declarations depend on files below these folders; the lock file determines the packages' contents. */
const sources = ["compiler", "dsl", "models", "playground/build", "examples/emoji"];

/** Writes `generated/`, with the given number of emoji, into a folder that Vite serves beside the page. */
export async function generate(into: string, emoji: number): Promise<void> {
  const folder = join(into, "generated");
  const mark = join(into, "made-from");
  const now = `${fingerprint()} ${emoji}`;
  if (existsSync(mark) && readFileSync(mark, "utf8") === now) return;
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "declarations.json"), JSON.stringify(declarations()));
  const { sheet, about } = await packEmoji(emoji);
  writeFileSync(join(folder, "emoji.webp"), sheet);
  writeFileSync(join(folder, "emoji.json"), JSON.stringify(about));
  writeFileSync(mark, now);
}

function fingerprint(): string {
  const hash = createHash("sha256").update(readFileSync(join(repository, "package-lock.json")));
  for (const folder of sources)
    for (const entry of readdirSync(join(repository, folder), { recursive: true, withFileTypes: true }))
      if (entry.isFile() && entry.name.endsWith(".ts")) {
        const path = join(entry.parentPath, entry.name);
        hash.update(path.slice(repository.length)).update(readFileSync(path));
      }
  return hash.digest("hex");
}
