/** Timelines as files: whole JSON at every moment, spans that do not overlap on a row, what happened by name. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { DeviceClock } from "../../backends/webgpu/runtime/kernel-timer.ts";
import { FileError, hostTensor, makeGraph, ops, spanned, timeline, UsageError } from "../../compiler/index.ts";
import { openTrace } from "../../runtime/node-index.ts";
import { heddle } from "../cli/support.ts";
import { gpuTest } from "../support/adapter.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-trace-"));
afterAll(() => rmSync(folder, { recursive: true }));
const fileOf = (name: string) => join(folder, `${name}.json`);

interface Event {
  readonly ph: string;
  readonly name: string;
  readonly pid: number;
  readonly tid: number;
  readonly ts: number;
  readonly dur: number;
  readonly args: Readonly<Record<string, unknown>>;
}

/** The spans of a file by the name of their row; throws where the file is no JSON. */
const spansOf = (path: string) => spansIn(readFileSync(path, "utf8"));

function spansIn(text: string): Map<string, Event[]> {
  const events = JSON.parse(text) as Event[];
  for (const event of events) expectFormat(event);
  const names = new Map(events.filter((e) => e.name === "thread_name").map((e) => [e.tid, String(e.args.name)]));
  const rows = new Map<string, Event[]>();
  for (const e of events.filter((x) => x.ph === "X")) {
    const row = names.get(e.tid)!;
    rows.set(row, [...(rows.get(row) ?? []), e]);
  }
  return rows;
}

const whole = (least: number) => expect.toSatisfy((n: number) => Number.isSafeInteger(n) && n >= least);

/** What viewers read of an event: "Trace Event Format", sections "Complete Events" and "Metadata Events". */
function expectFormat(event: Event): void {
  expect(event).toMatchObject({ pid: whole(0), tid: whole(0), name: expect.stringMatching(/./) });
  if (event.ph === "M") {
    const args = { process_name: { name: "heddle" }, thread_name: { name: expect.stringMatching(/./) } };
    const index = { thread_sort_index: { sort_index: whole(1) } };
    expect(event.args).toEqual({ ...args, ...index }[event.name]);
    return;
  }
  expect(event).toMatchObject({ ph: "X", ts: expect.any(Number), dur: expect.any(Number) });
  expect(Math.min(event.ts, event.dur)).toBeGreaterThanOrEqual(0);
  for (const value of Object.values(event.args)) expect(["string", "number"]).toContain(typeof value);
}

/** Whole nanoseconds, as Perfetto reads microseconds: it drops a span that overlaps another of its row by only one. */
const nanoseconds = (microseconds: number) => Math.round(microseconds * 1e3);

function expectRowsInOrder(rows: ReadonlyMap<string, readonly Event[]>): void {
  for (const [row, events] of rows) {
    const sorted = [...events].sort((a, b) => a.ts - b.ts);
    for (const [i, e] of sorted.slice(1).entries())
      expect(nanoseconds(e.ts), `${row}: ${e.name}`).toBeGreaterThanOrEqual(
        nanoseconds(sorted[i]!.ts) + nanoseconds(sorted[i]!.dur),
      );
  }
}

describe("a timeline", () => {
  it("is whole JSON at every moment", async () => {
    const path = fileOf("whole");
    const trace = openTrace(path);
    expect(spansOf(path).size).toBe(0);
    timeline()!.span("data", 'a "quoted" name\n', 1, 2.5, { bytes: 7 });
    await sleep(400); // what is kept back is written after a while
    expect(spansOf(path).get("data")).toMatchObject([
      { name: 'a "quoted" name\n', ts: 1000, dur: 1500, args: { bytes: 7 } },
    ]);
    for (let i = 0; i < 3000; i++) timeline()!.span("waits", `wait ${i}`, i, i + 0.5);
    expect(spansOf(path).get("waits")!.length).toBeGreaterThan(1000); // and when there is much of it
    trace.dispose();
    expect(spansOf(path).get("waits")).toHaveLength(3000);
    expect(timeline()).toBeUndefined();
  });

  it("of a process that is killed opens too", async () => {
    const path = fileOf("killed");
    const index = pathToFileURL(join(import.meta.dirname, "../../runtime/node-index.ts")).href;
    const compiler = pathToFileURL(join(import.meta.dirname, "../../compiler/index.ts")).href;
    const code = `
      import { openTrace } from ${JSON.stringify(index)};
      import { timeline } from ${JSON.stringify(compiler)};
      openTrace(${JSON.stringify(path)});
      console.log("open");
      setInterval(() => { for (let i = 0; i < 500; i++) timeline().span("steps", "step " + i, i, i + 1); }, 1);`;
    const child = spawn(process.execPath, ["--input-type=module", "-e", code], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve) => child.stdout.once("data", resolve));
    while (statSync(path).size < 200_000) await sleep(20);
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("exit", resolve));
    // A kill may cut the one write that it meets, at a page; a reader of the format takes an array that has no end.
    const text = readFileSync(path, "utf8");
    const whole = text.endsWith("\n]\n") ? text : `${text.slice(0, text.lastIndexOf(",\n"))}]`;
    expect([...spansIn(whole).values()].flat().length).toBeGreaterThan(1000);
  });

  it("has rows of spans that do not overlap, whatever overlaps", () => {
    const path = fileOf("overlapping");
    const trace = openTrace(path);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(3), fc.boolean()), { maxLength: 30 }), (steps) => {
        const open: (() => void)[] = [];
        for (const [which, begins] of steps) {
          if (begins) open.push(timeline()!.begin("uploads", `u${which}`));
          else open.splice(which % Math.max(1, open.length), 1)[0]?.();
        }
        for (const end of open) end();
      }),
      { numRuns: 50, seed: 3 },
    );
    trace.dispose();
    const rows = spansOf(path);
    expect(rows.size).toBeGreaterThan(2);
    expect([...rows.keys()].slice(0, 2)).toEqual(["uploads", "uploads 2"]);
    expectRowsInOrder(rows);
  });

  it("puts further rows of a track beside its first, each with a name and an index of its own", () => {
    const path = fileOf("sorted");
    const trace = openTrace(path);
    for (const track of ["kernels", "uploads", "uploads", "steps"] as const) timeline()!.span(track, "same", 5, 7);
    trace.dispose();
    const events = JSON.parse(readFileSync(path, "utf8")) as Event[];
    const metadata = (name: string) => events.filter((e) => e.name === name);
    const indices = new Map(metadata("thread_sort_index").map((e) => [e.tid, Number(e.args.sort_index)]));
    const named = metadata("thread_name").toSorted((a, b) => indices.get(a.tid)! - indices.get(b.tid)!);
    expect(named.map((e) => e.args.name)).toEqual(["steps", "uploads", "uploads 2", "kernels"]);
  });

  it("is one at a time, and needs a place", () => {
    const trace = openTrace(fileOf("one"));
    expect(() => openTrace(fileOf("two"))).toThrow(UsageError);
    trace.dispose();
    expect(() => openTrace(join(folder, "nowhere", "t.json"))).toThrow(FileError);
    expect(timeline()).toBeUndefined();
  });

  it("ends spans of work that fails, and is not needed for work", async () => {
    const fails = () => Promise.reject(new Error("no"));
    await expect(spanned("data", "batch", fails)).rejects.toThrow("no");
    const path = fileOf("failing");
    const trace = openTrace(path);
    await expect(spanned("data", "batch", fails, { of: "three" })).rejects.toThrow("no");
    trace.dispose();
    expect(spansOf(path).get("data")).toMatchObject([{ name: "batch", args: { of: "three" } }]);
  });
});

const x = hostTensor("f32", [{ name: "n", size: 5000 }], new Float32Array(5000).fill(1));
const graph = makeGraph("sums", [
  { name: "y", node: ops.reduceSum(ops.mul(ops.input("x", "f32", x.axes), ops.input("x", "f32", x.axes)), ["n"]) },
]);

describe("a run on a device", () => {
  gpuTest("is told by stages, uploads, submissions, waits and kernels", async ({ gpu }) => {
    const path = fileOf("device");
    const trace = openTrace(path);
    const backend = webgpuBackend(gpu);
    const executable = await backend.compile(graph);
    const { y } = await executable.run({ x }, backend.createStore());
    expect(y!.data[0]).toBe(5000);
    trace.dispose();
    const rows = spansOf(path);
    expectRowsInOrder(rows);
    const names = (row: string) => rows.get(row)!.map((e) => e.name);
    expect(names("compiler")).toEqual(["compile @sums"]);
    expect(names("compiler 2")).toEqual(expect.arrayContaining(["canonicalize", "fusion", "schedule", "kernels"]));
    expect(names("uploads")).toEqual(["feeds of @sums"]);
    expect(names("waits")).toContain('reading "y" of @sums back');
    const kernels = executable.program().kernels.map((k) => k.name);
    expect(names("kernels")).toEqual(kernels);
    const [submission] = rows.get("submissions")!;
    expect(submission).toMatchObject({ name: "@sums", args: { kernels: kernels.length } });
    for (const { ts, dur } of rows.get("kernels")!) {
      expect(ts).toBeGreaterThanOrEqual(submission!.ts);
      expect(ts + dur).toBeLessThanOrEqual(submission!.ts + submission!.dur + 1);
    }
    // The same without a listener: one pass, and nothing is told.
    expect((await executable.run({ x }, backend.createStore())).y!.data[0]).toBe(5000);
  });

  gpuTest("says so where the adapter has no clock", async ({ gpu }) => {
    const path = fileOf("no-clock");
    const features = new Set([...gpu.features].filter((f) => f !== "timestamp-query"));
    const trace = openTrace(path);
    const backend = webgpuBackend({ ...gpu, features });
    const executable = await backend.compile(graph);
    await executable.run({ x }, backend.createStore());
    trace.dispose();
    const rows = spansOf(path);
    expect(rows.has("kernels")).toBe(false);
    const [{ args }] = rows.get("submissions") as [Event];
    expect(args["times of kernels"]).toBe("none: the adapter does not support timestamp-query");
  });
});

it("places a device's clock between submission and result, and keeps it there", () => {
  const clock = new DeviceClock();
  const ms = 1e6;
  const at = (begin: number, end: number) => [{ begin: begin * ms, end: end * ms }];
  expect(clock.onHost(at(1000, 1002), 10, 15)).toEqual([{ begin: 10, end: 12 }]);
  expect(clock.onHost(at(1010.5, 1012), 20, 25)).toEqual([{ begin: 20.5, end: 22 }]); // as the clock says
  expect(clock.onHost(at(1013, 1014), 25, 30)).toEqual([{ begin: 25, end: 26 }]); // never before it was submitted
  expect(clock.onHost(at(1040, 1041), 31, 36)).toEqual([{ begin: 35, end: 36 }]); // nor after it was done
});

it("heddle --trace FILE, before or after the command", async () => {
  const path = fileOf("command");
  const model = join(import.meta.dirname, "../cli/tiny-model.ts");
  for (const argv of [
    ["--trace", path, "inspect", model, "--pass", "fold"],
    ["inspect", model, "--pass", "fold", "--trace", path],
  ]) {
    rmSync(path, { force: true });
    expect((await heddle(...argv)).status).toBe(0);
    expect(
      spansOf(path)
        .get("compiler")!
        .map((e) => e.name),
    ).toContain("fold");
    expect(timeline()).toBeUndefined();
  }
  const { status, err } = await heddle("inspect", model, "--trace", join(folder, "nowhere", "t.json"));
  expect([status, err]).toEqual([1, expect.stringContaining("no such file or folder")]);
});
