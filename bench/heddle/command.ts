/** Runs heddle's command line in this process. */
import { main } from "../../cli/index.ts";
import { InternalError } from "../../compiler/index.ts";

/** What a command prints to stdout; throws when it fails. */
export async function printed(args: readonly string[]): Promise<string> {
  const { write } = process.stdout;
  let text = "";
  process.stdout.write = (chunk: string | Uint8Array) => {
    text += chunk;
    return true;
  };
  try {
    const status = await main(args);
    if (status !== 0) throw new InternalError(`the command ended with status ${status}`);
    return text;
  } finally {
    process.stdout.write = write;
  }
}
