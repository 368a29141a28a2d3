/** heddle's compiler alone: `heddle inspect` of a bundled model, figures only. */
import { main } from "../../cli/index.ts";
import { InternalError } from "../../compiler/index.ts";
import type { Subject } from "../subject.ts";

/** One run is one command; its output is the parameter count and the kernel count. */
export async function inspect(model: string): Promise<Subject> {
  return {
    build: async () => async () => {
      const text = await printed(() => main(["inspect", model, "--json"]));
      const { parameters, kernels } = JSON.parse(text) as { parameters: number; kernels: { count: number } };
      return Float64Array.of(parameters, kernels.count);
    },
  };
}

/** What a command prints on stdout; throws where it does not end well. */
async function printed(command: () => Promise<number>): Promise<string> {
  const { write } = process.stdout;
  let text = "";
  process.stdout.write = (chunk: string | Uint8Array) => {
    text += chunk;
    return true;
  };
  try {
    const status = await command();
    if (status !== 0) throw new InternalError(`the command ended with status ${status}`);
    return text;
  } finally {
    process.stdout.write = write;
  }
}
