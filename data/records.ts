/** Helpers shared by all file readers, in Node and in pages. */

const systemReasons: Readonly<Record<string, string>> = {
  ENOENT: "it does not exist",
  EACCES: "permission denied",
  EISDIR: "it is a folder",
  ENOTDIR: "part of the path is not a folder",
};

/** A one-line reason, from anything thrown. */
export function reasonOf(thrown: unknown): string {
  const { code, message } = thrown as { code?: string; message?: string };
  return systemReasons[code ?? ""] ?? (message ?? String(thrown)).trim().split("\n")[0]!;
}

/** A plain object, as opposed to null, an array or a primitive. */
export const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
