/** Ends tokenizers that take for ever: what `#patience` is in Node. */
import { createContext, Script } from "node:vm";
import { FileError } from "../compiler/index.ts";
import { reasonOf } from "./records.ts";
import { hasPatterns } from "./tokenizer-checks.ts";

/** Milliseconds in which a text is tokenized, or never: patterns of a file may take time exponential in its length. */
const patience = 2000;

/**
 * The same function, ended where it takes too long: for tokenizers whose files bring regular expressions of their own. It
 * costs a tenth of a millisecond a call, so that others are left as they are.
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
        `tokenizer "${path}" cannot be used: one of its patterns takes more than ${patience / 1000} seconds for a text (${reasonOf(cause)})`,
        { cause },
      );
    }
  };
}
