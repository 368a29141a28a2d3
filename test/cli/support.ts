/** The command line as a function: what it prints and how it ends. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import sharp from "sharp";
import { vi } from "vitest";
import { main } from "../../cli/index.ts";
import { type Graph, type HostTensor, inputName } from "../../compiler/index.ts";
import { initialValue, tensorToWrite, writeSafetensors } from "../../runtime/index.ts";

export interface Ended {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Runs `heddle` with these arguments in this process. */
export async function heddle(...args: readonly string[]): Promise<Ended> {
  const written = { out: "", err: "" };
  const capture = (stream: NodeJS.WriteStream, to: "out" | "err") =>
    vi.spyOn(stream, "write").mockImplementation((text) => {
      written[to] += String(text);
      return true;
    });
  const spies = [capture(process.stdout, "out"), capture(process.stderr, "err")];
  try {
    return { status: await main(args), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}

/** A folder that lasts as long as the tests of a file. */
export function scratch(name: string): { readonly at: (...parts: string[]) => string; readonly remove: () => void } {
  const root = mkdtempSync(join(tmpdir(), `heddle-${name}-`));
  return { at: (...parts) => join(root, ...parts), remove: () => rmSync(root, { recursive: true }) };
}

export const modelFile = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

/** Random values of a graph's parameters, by name. */
export const randomWeights = (graph: Graph, seed = 5): Map<string, HostTensor> =>
  new Map(graph.inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), initialValue(n, seed)]));

/** Writes weights under heddle's own names. */
export const writeWeights = (path: string, weights: ReadonlyMap<string, HostTensor>): Promise<void> =>
  writeSafetensors(
    path,
    [...weights].map(([name, value]) => tensorToWrite(name, value)),
  );

/** Writes a picture of one colour with a stripe of another, so that no two are alike. */
export async function writePicture(path: string, red: number, green: number, blue: number): Promise<void> {
  const stripe = await sharp({
    create: { width: 6, height: 20, channels: 3, background: { r: blue, g: red, b: green } },
  })
    .png()
    .toBuffer();
  await sharp({ create: { width: 24, height: 20, channels: 3, background: { r: red, g: green, b: blue } } })
    .composite([{ input: stripe, left: 3, top: 0 }])
    .png()
    .toFile(path);
}
