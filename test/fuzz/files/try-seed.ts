/** One corrupted file: it is read, or refused with one of our errors. Anything else is a finding. */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { HeddleError, InternalError } from "../../../compiler/index.ts";
import type { Format } from "./format.ts";
import { mutated } from "./mutate.ts";

/** A valid example on disk; each seed corrupts a copy of it. */
export interface Example {
  readonly format: Format;
  /** The folder that holds everything. */
  readonly root: string;
  /** Corrupts one of its files and reads it; returns what went wrong, or undefined. */
  readonly trySeed: (seed: number) => Promise<string | undefined>;
  readonly dispose: () => void;
}

export async function openExample(format: Format): Promise<Example> {
  const root = mkdtempSync(join(tmpdir(), `heddle-fuzz-${format.name}-`));
  const around = join(root, "around"); // so that a path like ../../x is noticed
  const [sound, copy] = [join(around, "sound"), join(around, "copy")];
  mkdirSync(sound, { recursive: true });
  const files = await format.write(sound);
  for (const file of files) {
    cpSync(sound, copy, { recursive: true });
    await format.read(copy, file); // or every read would fail for the example's own fault
  }
  return {
    format,
    root,
    trySeed: async (seed) => {
      const file = files[seed % files.length]!;
      const whole = readFileSync(join(sound, file));
      const bytes = mutated(whole, seed);
      rmSync(copy, { recursive: true, force: true });
      cpSync(sound, copy, { recursive: true });
      writeFileSync(join(copy, file), bytes);
      const lacks = whole.subarray(0, bytes.length).equals(bytes) ? whole.length - bytes.length : 0;
      const read = () => format.read(copy, file);
      const fault =
        (await faultOf(lacks > (format.mayLack ?? Number.POSITIVE_INFINITY) ? () => refused(read) : read)) ??
        strayFile(root);
      return fault && `${format.name} seed ${seed} (${file}): ${fault}`;
    },
    dispose: () => rmSync(root, { recursive: true, force: true }),
  };
}

async function refused(read: () => Promise<void>): Promise<void> {
  await read();
  throw new Error("a file whose end is missing is read as if it were whole");
}

/** What was written outside the folder that was read. */
function strayFile(root: string): string | undefined {
  const names = [...readdirSync(root), ...readdirSync(join(root, "around"))];
  const stray = names.find((name) => !["around", "copy", "sound"].includes(name));
  return stray && `it left ${stray} outside its folder`;
}

/** The most milliseconds that a small file may take, whatever is in it, and bytes by which the process may grow. */
const most = { milliseconds: 10_000, bytes: 2 ** 30 };

export async function faultOf(read: () => Promise<void>): Promise<string | undefined> {
  const [begun, before] = [performance.now(), process.memoryUsage.rss()];
  try {
    await read();
  } catch (error) {
    if (!(error instanceof HeddleError) || error instanceof InternalError)
      return `not told as a fault of the file: ${error instanceof Error ? error.stack : error}`;
    if (error.message.length > 20_000) return `an error of ${error.message.length} characters`;
  }
  const [took, grown] = [performance.now() - begun, process.memoryUsage.rss() - before];
  if (took > most.milliseconds) return `took ${(took / 1000).toFixed(1)} s`;
  if (grown > most.bytes) return `took ${(grown / 1e9).toFixed(1)} GB`;
  return undefined;
}
