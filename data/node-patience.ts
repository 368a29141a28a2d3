/** `#patience` in Node: a time limit for tokenizers. */
import { createContext, Script } from "node:vm";
import { FileError } from "../compiler/index.ts";
import { reasonOf } from "./records.ts";
import { hasPatterns } from "./tokenizer-checks.ts";

/** Milliseconds allowed for tokenizing a text: regular expressions from a file may take exponential time. */
const patience = 2000;

/**
 * Wraps `work` with a time limit, for tokenizers whose files contain regular expressions. The wrapper costs a tenth of
 * a millisecond per call, so other tokenizers are left unwrapped.
 */
export function withinPatience<A extends readonly unknown[], R>(
  path: string,
  model: object,
  work: (...args: A) => R,
): (...args: A) => R {
  if (!hasPatterns(model)) return work;
  const shared: { work?: () => R } = {};
  const [script, context] = [new Script("work()"), createContext(shared)];
  return (...args) => {
    shared.work = () => work(...args);
    try {
      return script.runInContext(context, { timeout: patience }) as R;
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== "ERR_SCRIPT_EXECUTION_TIMEOUT") throw cause;
      throw new FileError(
        `tokenizer "${path}" cannot be used: one of its patterns takes more than ${patience / 1000} seconds on a text (${reasonOf(cause)})`,
        { cause },
      );
    }
  };
}
