/**
 * Checkpoints as transformers writes them (scripts/reference, test/fixtures/families), and what commands do with one.
 */
import { copyFileSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { type Graph, type HostTensor, hostTensor } from "../../compiler/index.ts";
import { checkpointLayout, type Model } from "../../dsl/index.ts";
import { openSafetensors, openWeights, tensorToWrite, writeSafetensors } from "../../runtime/index.ts";
import { heddle } from "../cli/support.ts";
import type { Digest } from "./support.ts";

export const folderOf = (...parts: string[]): string =>
  join(fileURLToPath(new URL("../fixtures/families", import.meta.url)), ...parts);

export const factsOf = <T>(folder: string, file = "expected.json"): T =>
  JSON.parse(readFileSync(join(folder, file), "utf8")) as T;

/** A model with the sizes that a checkpoint's config.json says. */
export function sizedBy(model: Model, folder: string): Model {
  return { ...model, config: model.checkpoints!.config!.read(factsOf(folder, "config.json"), model.config) };
}

/** A checkpoint's weights as values of a graph's parameters, by path. */
export async function weightsIn(folder: string, graph: Graph, model: Model): Promise<Map<string, HostTensor>> {
  const layouts = model.checkpoints!.layouts.map((rules) => checkpointLayout(graph, rules));
  const weights = await openWeights(folder, graph, layouts);
  const values = new Map<string, HostTensor>();
  for (const { parameter } of layouts[0]!) values.set(parameter, await weights.read(parameter));
  await weights.dispose();
  return values;
}

/** Rows of numbers as a tensor of two axes or more. */
export const rowsOf = (dtype: "i32" | "f32", axes: Readonly<Record<string, number>>, rows: readonly unknown[]) =>
  hostTensor(
    dtype,
    Object.entries(axes).map(([name, size]) => ({ name, size })),
    (rows as unknown[]).flat(9) as number[],
  );

/** What a script says of every checkpoint that writes: texts, and what PyTorch makes of them. */
export interface Written {
  readonly ids: number[][];
  readonly labels: number[][];
  readonly logits: number[];
  readonly loss: number;
  readonly gradients: Record<string, Digest>;
  readonly tokens: number[];
}

/**
 * A checkpoint that writes, its model with its sizes and `C` for settings, and its texts as feeds; `W` is what is said
 * besides.
 */
export function writtenCheckpoint<C, W = unknown>(name: string, model: unknown) {
  const folder = folderOf(name);
  const want = factsOf<Written & W>(folder);
  const sized = sizedBy(model as Model, folder);
  const [batch, token] = [want.ids.length, want.ids[0]!.length];
  const feeds = {
    ids: rowsOf("i32", { batch, token }, want.ids),
    labels: rowsOf("i32", { batch, token }, want.labels),
  };
  return { folder, want, model: sized, config: sized.config as unknown as C, batch, token, feeds };
}

/** Runs a command in a folder of its own and expects it to end well. */
export async function inScratch<T>(work: (at: string) => Promise<T>): Promise<T> {
  const at = mkdtempSync(join(tmpdir(), "heddle-family-"));
  try {
    return await work(at);
  } finally {
    rmSync(at, { recursive: true });
  }
}

export async function done(...args: readonly string[]): Promise<string> {
  const ended = await heddle(...args);
  expect([ended.status, ended.status === 0 ? "" : ended.err]).toEqual([0, ""]);
  return ended.out;
}

/**
 * Converts a checkpoint, in whatever form it lies there, and expects the elements of `like` under its names, but for
 * what the model does not compute with.
 */
export const expectConverted = (folder: string, like = folder, unused = /^$/): Promise<void> =>
  inScratch(async (at) => {
    const out = join(at, "converted");
    await done("convert", folder, "--out", out, "--json");
    await using ours = await openSafetensors(out);
    await using theirs = await openSafetensors(like);
    const wanted = [...theirs.tensors.keys()].filter((name) => !unused.test(name));
    expect([...ours.tensors.keys()].sort()).toEqual(wanted.sort());
    for (const name of wanted) {
      expect([name, ours.tensors.get(name)!.shape]).toEqual([name, theirs.tensors.get(name)!.shape]);
      expect((await ours.readTensor(name)).data).toEqual((await theirs.readTensor(name)).data);
    }
    const [before, after] = [folder, out].map((f) => factsOf<Record<string, unknown>>(f, "config.json"));
    expect(after!.model_type).toBe(before!.model_type);
  });

/** The same checkpoint with its tensors under other names, and others beside them. */
export async function renamed(
  folder: string,
  at: string,
  rename: (name: string) => string,
  besides: ReadonlyMap<string, HostTensor> = new Map(),
): Promise<void> {
  await using reader = await openSafetensors(folder);
  const tensors = new Map(besides);
  for (const name of reader.tensors.keys()) tensors.set(rename(name), await reader.readTensor(name));
  await writeSafetensors(
    join(at, "model.safetensors"),
    [...tensors].map(([name, value]) => tensorToWrite(name, value)),
  );
  copyFileSync(join(folder, "config.json"), join(at, "config.json"));
}

/** Exports a checkpoint's graph with weights of a type, and has the file compared with heddle's own execution. */
export const expectExported = (folder: string, dtype: string, ...more: readonly string[]): Promise<void> =>
  inScratch(async (at) => {
    const out = join(at, "model.onnx");
    const opset = dtype === "int4" ? ["--opset", "21"] : [];
    const said = await done("export", folder, "--out", out, "--dtype", dtype, "--verify", "--json", ...opset, ...more);
    expect(JSON.parse(said)).toMatchObject({ verified: { maxRelDiff: expect.any(Number) } });
  });

export const weightTypes = ["f32", "f16", "int8", "int4"] as const;
