/** Paths with "/", as in node:path/posix; relative paths are resolved against "/". */

export const sep = "/";

export const isAbsolute = (path: string): boolean => path.startsWith("/");

/** Removes ".", "..", empty parts and a trailing slash; "." for an empty path. */
function normalize(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "" || part === ".") continue;
    if (part !== "..") parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== "..") parts.pop();
    else if (!isAbsolute(path)) parts.push(part);
  }
  const joined = parts.join("/");
  return isAbsolute(path) ? `/${joined}` : joined || ".";
}

export const join = (...parts: string[]): string => normalize(parts.filter((part) => part !== "").join("/"));

export function resolve(...parts: string[]): string {
  const last = parts.findLastIndex(isAbsolute);
  return normalize(`/${parts.slice(Math.max(0, last)).join("/")}`);
}

export function dirname(path: string): string {
  const whole = path.replace(/(?<=.)\/+$/, "");
  const at = whole.lastIndexOf("/");
  if (at < 0) return ".";
  return whole.slice(0, at).replace(/\/+$/, "") || "/";
}

export const basename = (path: string): string => path.replace(/\/+$/, "").split("/").at(-1)!;

export function relative(from: string, to: string): string {
  const [here, there] = [from, to].map((path) => resolve(path).split("/").filter(Boolean)) as [string[], string[]];
  const other = here.findIndex((part, i) => part !== there[i]);
  const shared = other < 0 ? here.length : other;
  return [...here.slice(shared).map(() => ".."), ...there.slice(shared)].join("/");
}
