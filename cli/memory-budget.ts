/** What --memory allows: bytes, or a share of what a device has. */
import { execFile } from "node:child_process";
import { totalmem } from "node:os";
import { promisify } from "node:util";
import { UsageError } from "../compiler/index.ts";

export type MemoryBudget = { readonly bytes: number } | { readonly share: number };

/** What is asked of an adapter: WebGPU says its name, and not how much memory it has. */
interface Adapter {
  readonly description: string;
  readonly software: boolean;
}

/** The budget in bytes. Throws UsageError for a share of a device that does not say what it has. */
export async function bytesAllowed(budget: MemoryBudget, adapter: Adapter): Promise<number> {
  if ("bytes" in budget) return budget.bytes;
  const all = adapter.software ? totalmem() : await memoryOfNvidia(adapter.description);
  if (all === undefined)
    throw new UsageError(
      `--memory ${budget.share}: WebGPU does not say how much memory "${adapter.description}" has; give bytes, as in --memory 24GiB`,
    );
  return Math.floor(budget.share * all);
}

/** Where no device is opened. */
export function bytesOnly(budget: MemoryBudget): number {
  if ("bytes" in budget) return budget.bytes;
  throw new UsageError(`--memory ${budget.share}: no device is opened here; give bytes, as in --memory 24GiB`);
}

/** Bytes of the NVIDIA card of that name, as its driver's tool says; undefined for others, and where the tool is not there. */
async function memoryOfNvidia(description: string): Promise<number | undefined> {
  const query = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"];
  const text = await promisify(execFile)("nvidia-smi", query).then(
    ({ stdout }) => stdout,
    () => "",
  );
  return nvidiaMemory(text, description);
}

/** From lines such as "NVIDIA H200, 143771", in MiB: the least of the cards of that name. */
export function nvidiaMemory(text: string, description: string): number | undefined {
  const found = text.split("\n").flatMap((line) => {
    const [name = "", mebibytes = ""] = line.split(",").map((s) => s.trim());
    return name !== "" && description.includes(name) && Number(mebibytes) > 0 ? [Number(mebibytes) * 2 ** 20] : [];
  });
  return found.length > 0 ? Math.min(...found) : undefined;
}
