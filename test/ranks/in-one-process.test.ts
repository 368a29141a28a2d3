/** Ranks without MPI compute what one process computes, in the reference interpreter. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { localRanks } from "../support/local-ranks.ts";
import { norms } from "./norm-cases.ts";
import { sharded, type Told, tell } from "./shared-cases.ts";

/**
 * A teacher differs from its student in the second step, and its gradient in the third. Averages are validated after
 * the fifth, and the sixth must not begin with them.
 */
const stepsOf = (name: string) => (name.includes("averaged") ? 6 : name.includes("teacher") ? 3 : 2);
let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "heddle-local-ranks-"));
});
afterAll(async () => await rm(root, { recursive: true }));

const names = [
  "mined from the whole batch",
  "mined of 12, accumulated",
  "mined, accumulated, in parts of weights",
  "a teacher, accumulated",
  "a teacher, in parts of momentum",
  "a teacher and a center",
  "a center, in parts of weights",
  "a teacher and a queue, accumulated",
  "mined, in parts of weights",
  "contrastive, uneven and accumulated",
  "contrastive, uneven, in parts of weights",
  "contrastive of an uneven batch, in parts of gradients",
  "several means, uneven and accumulated",
  "several means, in parts of weights",
  ...Object.keys(sharded),
  ...Object.keys(norms),
];

describe.each(names)("%s", (name) => {
  let want: Told;
  beforeAll(async () => {
    want = await tell(name, stepsOf(name), await mkdtemp(join(root, "one-")), referenceBackend());
  });

  it.each([3, 4])("of %i ranks", async (size) => {
    const folder = await mkdtemp(join(root, "ranks-"));
    const ranks = localRanks(size).map((r) => tell(name, stepsOf(name), folder, referenceBackend(), r));
    const got = (await Promise.all(ranks))[0]!;
    const off = Math.hypot(...got.first.map((x, i) => x - want.first[i]!));
    expect(off / Math.hypot(...want.first)).toBeLessThan(1e-5);
    for (const [i, loss] of got.losses.entries()) expect(Math.abs(loss / want.losses[i]! - 1)).toBeLessThan(1e-5);
    expect(got.validated.length).toBe(want.validated.length);
    for (const [i, loss] of got.validated.entries()) expect(Math.abs(loss / want.validated[i]! - 1)).toBeLessThan(1e-5);
    expect(new Set(got.losses).size).toBe(stepsOf(name));
  });
});

it.each([
  "a teacher and a queue",
  "mined of 12",
  "batch norm and layers over places",
  "batch norm and a layer over merged places",
])("%s with accumulation is that of one batch", async (name) => {
  const [whole, parts] = await Promise.all(
    [name, `${name}, accumulated`].map(async (name) =>
      tell(name, 3, await mkdtemp(join(root, "accumulated-")), referenceBackend()),
    ),
  );
  for (const [i, loss] of whole!.losses.entries()) expect(parts!.losses[i]).toBeCloseTo(loss, 5);
});

it.each([
  ["a center, accumulated", 'updates "center" with each micro-batch'],
  ["a center of a scaled mean, in parts of weights", 'updates "center" from whole parameters'],
  ["a teacher, in parts of gradients", 'updates "teacher.weight", "teacher.bias" from whole parameters'],
  ["a teacher, in parts of weights", "has only a part where weights are sharded"],
  ["batch norms with a layer between", "would have to run on the whole batch at once"],
  ["batch norm and a layer, unevenly accumulated", "start a number of processes that divides the samples"],
])("%s is refused", async (name, message) => {
  const folder = await mkdtemp(join(root, "refused-"));
  const ranks = localRanks(2).map((r) => tell(name, 1, folder, referenceBackend(), r));
  for (const outcome of await Promise.allSettled(ranks))
    expect(String((outcome as PromiseRejectedResult).reason)).toContain(message);
});
