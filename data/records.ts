/** What all readers of files have in common, in Node and in a page. */

const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "permission denied",
  EISDIR: "it is a folder",
  ENOTDIR: "part of the path is not a folder",
};

/** One line that says why, from whatever was thrown. */
export function reasonOf(thrown: unknown): string {
  const { code, message } = thrown as { code?: string; message?: string };
  return systemReasons[code ?? ""] ?? (message ?? String(thrown)).trim().split("\n")[0]!;
}

/** A plain JSON object, as opposed to null, an array or a value. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
