/** Tensors that a checkpoint stores twice although the model has one. */
import { existsSync } from "node:fs";
import { FileError } from "../compiler/index.ts";
import type { Config, Model } from "../dsl/index.ts";
import { openSafetensors, type SafetensorsReader } from "../runtime/index.ts";

/** Throws FileError if a stored copy differs from the tensor that is read: it would be silently ignored. */
export async function requireAlike({ checkpoints }: Model, config: Config, weights: string): Promise<void> {
  const copies = checkpoints?.copies?.(config) ?? [];
  if (copies.length === 0 || !existsSync(weights)) return; // reported when they are opened
  await using reader = await openSafetensors(weights);
  for (const { name, of, setting } of copies) {
    if (!reader.tensors.has(name) || !reader.tensors.has(of) || (await areAlike(reader, name, of))) continue;
    throw new FileError(
      `${weights}: "${name}" and "${of}" differ, but config.json says by ${setting} that they are tied\n  hint: change this to load both, or remove "${name}"`,
    );
  }
}

async function areAlike(reader: SafetensorsReader, name: string, of: string): Promise<boolean> {
  const { elements } = reader.tensor(name);
  if (elements !== reader.tensor(of).elements) return false;
  const most = 2 ** 20;
  for (let at = 0; at < elements; at += most) {
    const read = (tensor: string) => reader.readRange(tensor, at, Math.min(most, elements - at), { dtype: "f32" });
    const [a, b] = [await read(name), await read(of)];
    if (a.some((value, i) => value !== b[i])) return false;
  }
  return true;
}
