/** The budget of --memory: bytes, or a fraction of the device's memory. */
import { execFile } from "node:child_process";
import { totalmem } from "node:os";
import { promisify } from "node:util";
import { UsageError } from "../compiler/index.ts";

export type MemoryBudget = { readonly bytes: number } | { readonly share: number };

/** What is read from an adapter: WebGPU reports its name, but not its memory. */
interface Adapter {
  readonly description: string;
  readonly software: boolean;
}

/** The budget in bytes. Throws UsageError for a fraction of unknown memory. */
export async function bytesAllowed(budget: MemoryBudget, adapter: Adapter): Promise<number> {
  if ("bytes" in budget) return budget.bytes;
  const all = adapter.software ? totalmem() : await memoryOfNvidia(adapter.description);
  if (all === undefined)
    throw new UsageError(
      `--memory ${budget.share}: WebGPU does not report the memory of "${adapter.description}"; give bytes, as in --memory 24GiB`,
    );
  return Math.floor(budget.share * all);
}

/** The budget in bytes, if no device is opened. */
export function bytesOnly(budget: MemoryBudget): number {
  if ("bytes" in budget) return budget.bytes;
  throw new UsageError(`--memory ${budget.share}: no device is opened here; give bytes, as in --memory 24GiB`);
}

/** Memory of the NVIDIA GPU of that name in bytes, by nvidia-smi; undefined for others, and if the tool is missing. */
async function memoryOfNvidia(description: string): Promise<number | undefined> {
  const query = ["--query-gpu=name,memory.total", "--format=csv,noheader,nounits"];
  const text = await promisify(execFile)("nvidia-smi", query).then(
    ({ stdout }) => stdout,
    () => "",
  );
  return nvidiaMemory(text, description);
}

/** Parses lines such as "NVIDIA H200, 143771", in MiB: the minimum over GPUs of that name. */
export function nvidiaMemory(text: string, description: string): number | undefined {
  const found = text.split("\n").flatMap((line) => {
    const [name = "", mebibytes = ""] = line.split(",").map((s) => s.trim());
    return name !== "" && description.includes(name) && Number(mebibytes) > 0 ? [Number(mebibytes) * 2 ** 20] : [];
  });
  return found.length > 0 ? Math.min(...found) : undefined;
}
