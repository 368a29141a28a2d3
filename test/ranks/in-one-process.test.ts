/** Ranks without MPI compute what one process computes, in the reference interpreter. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { localRanks } from "../support/local-ranks.ts";
import { type Told, tell } from "./shared-cases.ts";

const steps = 2;
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "heddle-local-ranks-"));
});
afterAll(async () => await rm(root, { recursive: true }));

const names = [
  "mined from the whole batch",
  "mined, in parts of weights",
  "contrastive, uneven and accumulated",
  "contrastive, uneven, in parts of weights",
  "contrastive of an uneven batch, in parts of gradients",
];

describe.each(names)("%s", (name) => {
  let want: Told;
  beforeAll(async () => {
    want = await tell(name, steps, await mkdtemp(join(root, "one-")), referenceBackend());
  });

  it.each([3, 4])("of %i ranks", async (size) => {
    const folder = await mkdtemp(join(root, "ranks-"));
    const ranks = localRanks(size).map((r) => tell(name, steps, folder, referenceBackend(), r));
    const got = (await Promise.all(ranks))[0]!;
    const off = Math.hypot(...got.first.map((x, i) => x - want.first[i]!));
    expect(off / Math.hypot(...want.first)).toBeLessThan(1e-5);
    for (const [i, loss] of got.losses.entries()) expect(Math.abs(loss / want.losses[i]! - 1)).toBeLessThan(1e-6);
    expect(new Set(got.losses).size).toBe(steps);
  });
});
