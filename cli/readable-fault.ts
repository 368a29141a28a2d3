/** What a user's code throws, as something that can be printed: anything can be thrown, with fields of any kind. */
import { inspect } from "node:util";
import { UsageError } from "../compiler/index.ts";

/**
 * What was thrown, with a name and a message that are text: a getter may throw, and a field may be a symbol. In place
 * of what cannot be printed at all, an error that says so.
 */
export function readableFault(thrown: unknown): unknown {
  try {
    if (!(thrown instanceof Error)) {
      inspect(thrown); // which may throw
      return thrown;
    }
    // Before the stack is read: it begins with both.
    for (const [field, text] of [
      ["name", "Error"],
      ["message", "its message is not text, or throws when it is read"],
    ] as const)
      if (!isText(thrown, field)) Object.defineProperty(thrown, field, { value: text });
    if (isText(thrown, "stack")) return thrown;
    return new UsageError(`${thrown.name}: ${thrown.message}; its stack cannot be read, so its line is unknown`);
  } catch {
    return new UsageError("what was thrown cannot be printed: throw an Error with a message");
  }
}

function isText(error: Error, field: "name" | "message" | "stack"): boolean {
  try {
    return typeof error[field] === "string";
  } catch {
    return false;
  }
}
