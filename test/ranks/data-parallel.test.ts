/**
 * Several ranks compute what one process computes: collectives, first gradients, losses. Runs where MPI is installed.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { cpuBackend } from "../../backends/onnxruntime/index.ts";
import { buffers } from "./buffer-cases.ts";
import { installHint, type Launcher, launch, launchers } from "./launchers.ts";
import { norms } from "./norm-cases.ts";
import type { Asked, Found } from "./ranks-process.ts";
import { cases, type Told, tell } from "./shared-cases.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-ranks-"));
afterAll(() => rmSync(root, { recursive: true }));
const process_ = fileURLToPath(new URL("ranks-process.ts", import.meta.url));
const steps = 12;

async function found(
  launcher: Launcher,
  ranks: number,
  asked: Pick<Asked, "device" | "cases" | "late">,
): Promise<Found> {
  const folder = mkdtempSync(join(root, "run-"));
  const { status, err } = await launch(launcher, ranks, [process_, JSON.stringify({ folder, steps, ...asked })]).ended;
  expect({ status, err: status === 0 ? "" : err }).toEqual({ status: 0, err: "" });
  return JSON.parse(readFileSync(join(folder, "found.json"), "utf8")) as Found;
}

const alone = new Map<string, Promise<Told>>();
function ofOneProcess(name: string): Promise<Told> {
  if (!alone.has(name))
    alone.set(
      name,
      cpuBackend().then((backend) => tell(name, steps, mkdtempSync(join(root, "one-")), backend)),
    );
  return alone.get(name)!;
}

/** The largest difference, beside the norm of what is wanted. */
function difference(got: readonly number[], want: readonly number[]): number {
  expect(got.length).toBe(want.length);
  const norm = Math.hypot(...want);
  expect(norm).toBeGreaterThan(0);
  return Math.hypot(...got.map((x, i) => x - want[i]!)) / norm;
}

async function requireSame({ cases: told }: Found, names: readonly string[]) {
  for (const name of names) {
    const want = await ofOneProcess(name);
    const { first, losses, skipped, validated } = told[name]!;
    expect(skipped).toEqual(want.skipped);
    if (name.includes("skipped")) expect(skipped.length).toBeGreaterThan(1);
    expect(difference(first, want.first), name).toBeLessThan(1e-5);
    expect(validated.length).toBe(cases[name]!.isValidated ? 4 : 0); // steps 1, 5, 10 and the last
    for (const [i, loss] of validated.entries()) expect(Math.abs(loss - want.validated[i]!), name).toBeLessThan(1e-4);
    expect(losses.length).toBe(steps);
    for (const [i, loss] of losses.entries()) expect(Math.abs(loss - want.losses[i]!), name).toBeLessThan(1e-4);
  }
}

/** Four layers of 8 KiB, all trained, or but the first: each rank has its part, and one layer at a time is whole. */
function requireParts({ cases: told }: Found, ranks: number) {
  const layer = 64 * 32 * 4;
  const each = (name: string, layers: number, whole: number) => {
    const held = told[`layers, in parts of ${name}`]?.held;
    if (!held) return;
    const own = (layers * layer) / ranks;
    const want = { weights: whole + (name === "weights" ? own : 0), gradients: own, optimizer: own };
    expect(held).toEqual(held.map(() => want));
    expect(held.length).toBe(ranks);
  };
  each("weights", 3, layer);
  each("gradients", 4, 4 * layer);
}

function requireCollectives({ collectives }: Found, size: number) {
  expect(collectives.length).toBe(size);
  const bytes = 2 * (1 - 1 / size) * 1_300_003 * 4;
  const half = size === 2 ? 2048 : 2050; // 2048.5 and 2049.5 lie between halves
  for (const [rank, got] of collectives.entries()) {
    expect(got.wrong).toBe(-1);
    expect(Math.abs(got.sentBytes / bytes - 1)).toBeLessThan(0.05);
    expect(got.broadcastBytes).toBe(rank === size - 1 ? 1000 * (size - 1) : 0);
    expect(got.halves).toEqual([half, half, half]);
    expect(got.whole).toEqual([(size * (2 ** 31 - 1)) | 0, (size * (size - 1)) / 2]);
    expect(got.gathered).toEqual(collectives.map((_, r) => [r + 1, r + 1]));
    const [from, first, last] = got.scattered as [number, number, number];
    expect([first, last % size]).toEqual([size * from, 0]);
    expect(got.sent).toEqual(new Array(5).fill(size));
    expect(rank).toBeLessThan(size);
  }
}

/** Of the buffers and norms, which in-one-process.test.ts has all of, one case each. */
const overMpi = [
  ...Object.keys(cases).filter((name) => !(name in buffers || name in norms)),
  "a teacher and a center",
  "batch norm and a layer, of frozen features in int8",
];

describe.each(["Open MPI", "MPICH"] as const)("over %s", (name) => {
  const launcher = launchers[name];

  it("2 ranks on cpu compute what one process does", async ({ skip }) => {
    if (!launcher) return skip(`${name}: ${installHint}`);
    const names = name === "MPICH" ? ["means of an uneven batch"] : overMpi;
    const got = await found(launcher, 2, { device: "cpu", cases: names });
    expect(got.carrier).toContain(name);
    expect(got.node.size).toBe(2);
    requireCollectives(got, 2);
    requireParts(got, 2);
    await requireSame(got, names);
  }, 300_000);
});

const anyLauncher = launchers["Open MPI"] ?? launchers.MPICH;

it("4 ranks on cpu compute what one process does", async ({ skip }) => {
  if (!anyLauncher) return skip(installHint);
  const names = [
    "contrastive, accumulated",
    "tokens, in parts of gradients",
    "means of an uneven batch, in parts of weights",
    "layers, in parts of weights",
  ];
  const got = await found(anyLauncher, 4, { device: "cpu", cases: names });
  requireCollectives(got, 4);
  requireParts(got, 4);
  await requireSame(got, names);
}, 300_000);

it("2 ranks on a software GPU compute what one process does", async ({ skip }) => {
  if (!anyLauncher) return skip(installHint);
  const early = "contrastive, accumulated";
  const names = [early, "contrastive, in parts of momentum", "contrastive, in parts of weights, some frozen"];
  const got = await found(anyLauncher, 2, { device: "webgpu", cases: names, late: [early] });
  await requireSame(got, names);
  const [told, late] = [got.cases[early]!, got.late[early]!];
  expect([told.gradual, late.gradual]).toEqual([steps, 0]);
  expect([told.first, told.losses]).toEqual([late.first, late.losses]); // bit for bit: only when sums are exchanged differs
}, 300_000);
