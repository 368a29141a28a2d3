/** Reads who imports whom, and checks it against the table of rooms. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { join, posix } from "node:path";
import { parseSync } from "vite";
import { browserEntries, doors, hosts, innerDoors, insiders, rooms } from "./rooms.ts";

/** One import, by paths relative to the repository. */
type Import = {
  readonly from: string;
  readonly line: number;
  /** A file of the repository, or the name of a package or Node module. */
  readonly to: string;
  readonly external: boolean;
  readonly typeOnly: boolean;
};

/** Every import of the TypeScript files in the rooms below a folder. */
export function readImports(root: string): readonly Import[] {
  const tops = [...new Set(Object.keys(rooms).map((path) => path.split("/")[0] ?? ""))];
  return tops.flatMap((top) => sourceFiles(root, top)).flatMap((file) => importsOf(root, file));
}

/** All that is wrong with the imports below a folder, one line each; empty when all is well. */
export function checkImports(root: string): readonly string[] {
  const imports = readImports(root);
  const wrong = imports.flatMap((one) => {
    const reason = one.external ? wrongPackage(one) : wrongArrow(one);
    return reason ? [`${one.from}:${one.line} imports ${one.to}: ${reason}`] : [];
  });
  return [...wrong, ...nodeInBrowser(imports), ...cycles(imports)];
}

/** The TypeScript and JavaScript files of a folder, by paths relative to `root`. */
export function sourceFiles(root: string, folder: string): readonly string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = posix.join(folder, entry.name);
    if (entry.isDirectory()) return entry.name === "node_modules" ? [] : sourceFiles(root, path);
    return /\.(ts|js|mjs)$/.test(entry.name) ? [path] : [];
  });
}

function importsOf(root: string, file: string): readonly Import[] {
  const text = readFileSync(join(root, file), "utf8");
  const { module } = parseSync(file, text);
  const found = [
    ...module.staticImports.map(({ moduleRequest, entries }) => ({
      name: moduleRequest.value,
      at: moduleRequest.start,
      typeOnly: entries.length > 0 && entries.every((entry) => entry.isType),
    })),
    ...module.staticExports.flatMap(({ entries }) =>
      entries.flatMap(({ moduleRequest, isType }) =>
        moduleRequest ? [{ name: moduleRequest.value, at: moduleRequest.start, typeOnly: isType }] : [],
      ),
    ),
    ...module.dynamicImports.flatMap(({ moduleRequest: { start, end } }) => {
      const literal = /^["'`]([^"'`$]+)["'`]$/.exec(text.slice(start, end));
      return literal?.[1] ? [{ name: literal[1], at: start, typeOnly: false }] : [];
    }),
  ];
  return found.map(({ name, at, typeOnly }) => {
    const host = hosts[name]?.browser;
    const external = !host && !name.startsWith(".");
    const to = host ?? (external ? name : posix.join(posix.dirname(file), name));
    return { from: file, line: text.slice(0, at).split("\n").length, to, external, typeOnly };
  });
}

/** The room of a file: the longest path of the table that it lies under. */
function roomOf(file: string): string | undefined {
  const under = Object.keys(rooms).filter((path) => file === path || file.startsWith(`${path}/`));
  return under.sort((a, b) => b.length - a.length)[0];
}

function wrongArrow({ from, to, typeOnly }: Import): string | undefined {
  const [here, there] = [roomOf(from), roomOf(to)];
  if (!here || !there) return there ? undefined : "it is outside every room";
  const room = rooms[here];
  if (!room || here === there) return undefined;
  const listed = (names: readonly string[]) => names.some((name) => name === to || covers(name, there));
  if (!listed(room.imports)) {
    if (!listed(room.types ?? [])) return `${here} may import ${list([...room.imports, ...(room.types ?? [])])}`;
    if (!typeOnly) return `${here} may import types only from ${there}`;
  }
  if (insiders.includes(here)) return undefined;
  return sameHouse(here, there) ? pastTheInnerDoor(to, there) : pastTheDoor(to, there);
}

/** A room that is named from outside stands for the rooms inside it too. */
function covers(name: string, room: string): boolean {
  return room === name || house(room) === name;
}

/** Rooms inside one room have the inner doors between them, and a backend needs none to what all backends share. */
function sameHouse(here: string, there: string): boolean {
  return house(here) === house(there) || (there === "backends" && here.startsWith("backends/"));
}

/** The outermost room around a room; each backend is one of its own. */
function house(room: string): string {
  return room.startsWith("backends/") ? room.split("/").slice(0, 2).join("/") : (room.split("/")[0] ?? room);
}

function pastTheDoor(to: string, there: string): string | undefined {
  const door = doors[house(there)] ?? { file: "index.ts" };
  const isDoor = to === `${house(there)}/${door.file}` || door.also?.test(to);
  return isDoor ? undefined : `the door of ${house(there)} is its ${door.file}`;
}

function pastTheInnerDoor(to: string, there: string): string | undefined {
  const door = innerDoors[there];
  const isDoor = !door || to === `${there}/index.ts` || door.also?.test(to);
  return isDoor ? undefined : `the door of ${there} is its index.ts`;
}

function wrongPackage({ from, to }: Import): string | undefined {
  const browser = rooms[roomOf(from) ?? ""]?.browser;
  if (!browser || /(^|\/)node-[^/]+\.ts$/.test(from)) return undefined;
  if (isNode(to)) return `${roomOf(from)} also runs in a browser`;
  return browser.packages.includes(to)
    ? undefined
    : `${roomOf(from)} may import ${list(browser.packages)} of the packages`;
}

function isNode(name: string): boolean {
  return name.startsWith("node:") || builtinModules.includes(name);
}

/** Node modules that a page would load, however far from its entry. */
function nodeInBrowser(imports: readonly Import[]): readonly string[] {
  const from = Map.groupBy(imports, (one) => one.from);
  return browserEntries.flatMap((entry) => {
    const reached = new Set([entry]);
    for (const file of reached) {
      for (const { to, typeOnly } of from.get(file) ?? []) if (!typeOnly) reached.add(to);
    }
    return [...reached].filter(isNode).map((name) => `${entry} reaches ${name}, and a page loads it`);
  });
}

/** Each cycle of files once, as the path around it; types count, because a cycle of types is read as one thing too. */
function cycles(imports: readonly Import[]): readonly string[] {
  const next = Map.groupBy(
    imports.filter((one) => !one.external),
    (one) => one.from,
  );
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (file: string, path: readonly string[]): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push(`files import each other in a circle: ${[...path.slice(at), file].join(" -> ")}`);
    if (at >= 0 || done.has(file)) return;
    for (const { to } of next.get(file) ?? []) visit(to, [...path, file]);
    done.add(file);
  };
  for (const file of next.keys()) visit(file, []);
  return [...new Set(found)];
}

function list(names: readonly string[]): string {
  return names.length > 0 ? `only ${names.join(", ")}` : "none";
}
