/** What the documents name exists: files, links, and the identifiers of the sources. */
import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));
const text = (path: string) => readFileSync(join(root, path), "utf8");
const files = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
  cwd: root,
  encoding: "utf8",
})
  .split("\0")
  .filter((path) => path !== "" && existsSync(join(root, path)));

const sources = files.filter((path) => /\.(ts|js|mjs|py|css|html)$/.test(path) && !path.startsWith("test/"));
const documents = files.filter((path) => path.endsWith(".md"));

/** Identifiers of other projects that the documents mention. */
const foreign = new Set(["QDQSelectorActionTransformer", "DeiTForImageClassification"]);

/** The document without blocks of code, which are compiled or printed by other tests. */
const prose = (path: string) => text(path).replaceAll(/```[\s\S]*?```/g, "");
const quoted = (path: string) => [...prose(path).matchAll(/`([^`\n]+)`/g)].map((match) => match[1]!);

/** What the interface or class of that name declares, by the name of the type; several files may declare one name. */
function membersByType(): ReadonlyMap<string, ReadonlySet<string>> {
  const found = new Map<string, Set<string>>();
  for (const path of sources.filter((source) => source.endsWith(".ts")))
    for (const [, name, body] of text(path).matchAll(
      /^export (?:abstract )?(?:interface|class) (\w+)[^{]*\{\n([\s\S]*?)^\}/gm,
    ))
      found.set(name!, new Set([...(found.get(name!) ?? []), ...(body!.match(/[A-Za-z_]\w*/g) ?? [])]));
  return found;
}

/** The identifiers that a document names and that are nowhere in the sources. */
function unknownNames(path: string, words: ReadonlySet<string>, members: ReadonlyMap<string, ReadonlySet<string>>) {
  return quoted(path).filter((name) => {
    const [, type, member] = /^([A-Z]\w+)\.([a-z]\w+)(?:\(.*\))?$/.exec(name) ?? [];
    if (type && member && members.has(type)) return !members.get(type)!.has(member);
    const identifier = /^([a-z]+[A-Z]\w*|[A-Z][a-z]+[A-Z]\w*)(?:\(.*\))?$/.exec(name)?.[1];
    return identifier !== undefined && !words.has(identifier) && !foreign.has(identifier);
  });
}

describe("the documents", () => {
  const words = new Set(sources.flatMap((path) => text(path).match(/[A-Za-z_]\w*/g) ?? []));
  const members = membersByType();

  test("name identifiers that the sources have", () => {
    expect(documents.flatMap((path) => unknownNames(path, words, members).map((name) => `${path}: ${name}`))).toEqual(
      [],
    );
  });

  test("name files of the tree that exist", () => {
    const rooms = new Set(files.filter((path) => path.includes("/")).map((path) => path.split("/")[0]!));
    const isOurs = (name: string) => /^[a-z][\w/-]*\/[\w.-]+\.(ts|js|py)$/.test(name) && rooms.has(name.split("/")[0]!);
    // A worked example tells where a user would put a new file.
    const proposed = new Set(["compiler/lowering/schedules/row-reduction/row-per-subgroup.ts"]);
    const missing = (path: string) => quoted(path).filter((n) => isOurs(n) && !files.includes(n) && !proposed.has(n));
    expect(documents.flatMap((path) => missing(path).map((name) => `${path}: ${name}`))).toEqual([]);
  });

  test("link to what exists", () => {
    const broken = (path: string) =>
      [...prose(path).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)]
        .map((match) => match[1]!)
        .filter(
          (target) => !/^https?:/.test(target) && !existsSync(join(root, normalize(join(dirname(path), target)))),
        );
    expect(documents.flatMap((path) => broken(path).map((target) => `${path}: ${target}`))).toEqual([]);
  });
});
