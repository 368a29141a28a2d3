/** Buffers that a step keeps: a teacher that follows a student, and a queue, against the same arithmetic by hand. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import * as h from "../../api/index.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-teacher-"));
afterAll(() => rmSync(root, { recursive: true }));

const [batch, feature, slot] = [h.axis("batch", 2), h.axis("feature", 3), h.axis("slot", 5)];
const rows = () => h.input("x", "f32", [batch, feature]);

/** x · w, with a weight that two layers share. */
function encode(p: h.Params, x: h.Tensor<"batch" | "feature">): h.Tensor<"batch" | "feature"> {
  const scale = (q: h.Params) => q.parameter("w", [feature], h.normal(1));
  return h.mul(h.mul(x, scale(p.scope("layer"))), scale(p.scope("layer").shared()));
}

/** The student is drawn to where the teacher sends the same rows, and to the middle of the queue. */
const stage = (decay: number | h.Schedule, accumulate = 1) =>
  h.defineStage({
    name: "distilled",
    accumulate,
    loss: (p) => {
      const updates: h.StateUpdate[] = [];
      const ours = encode(p.scope("student"), rows());
      const teacher = h.emaTeacher(p.scope("teacher"), p.scope("student"), { decay, updates });
      const theirs = encode(teacher, h.add(rows(), 1));
      const off = h.sub(ours, theirs);
      const queue = h.buffer(p, "queue", [slot, feature], h.zeros);
      const newest = h.rename(theirs, batch, h.axis("slot", 2));
      const old = h.slice(queue.value, slot, 0, 3);
      updates.push(queue.update(h.concat<"slot" | "feature", "slot">([newest, old], h.axis("slot", 2))));
      return { loss: h.mean(h.mul(off, off), [batch, feature]), updates };
    },
    optimizer: { rate: h.constantRate(0.1), rule: h.sgd(), weightDecay: 0 },
  });

const x = [1, 2, 3, -1, 0.5, 2];
const feeds = {
  x: h.hostTensor(
    "f32",
    [
      { name: "batch", size: 2 },
      { name: "feature", size: 3 },
    ],
    Float32Array.from(x),
  ),
};

/** The same steps in float64. */
function byHand(start: readonly number[], decays: readonly number[]) {
  const [student, teacher] = [[...start], [...start]];
  let queue = Array.from({ length: 5 }, () => [0, 0, 0]);
  for (const decay of decays) {
    for (let i = 0; i < 3; i++) teacher[i] = decay * teacher[i]! + (1 - decay) * student[i]!;
    const sent = [0, 1].map((b) => teacher.map((t, i) => (x[3 * b + i]! + 1) * t * t));
    queue = [...sent, ...queue.slice(0, 3)];
    const slope = student.map((w, i) =>
      [0, 1].reduce((sum, b) => sum + (2 / 6) * (x[3 * b + i]! * w * w - sent[b]![i]!) * 2 * w * x[3 * b + i]!, 0),
    );
    for (let i = 0; i < 3; i++) student[i]! -= 0.1 * slope[i]!;
  }
  return { student, teacher, queue: queue.flat() };
}

/** The weights that a run of this many steps writes. */
async function trained(folder: string, decay: number | h.Schedule, steps: number, accumulate = 1) {
  const device = await h.openDevice("reference");
  const { weights } = await h.train(
    { stage: stage(decay, accumulate), steps, batch: () => feeds, seed: 3 },
    { device, folder: join(root, folder) },
  );
  device.dispose();
  const read = (name: string) => [...weights.get(name)!.data];
  return { student: read("student.layer.w"), teacher: read("teacher.layer.w"), queue: read("queue") };
}

const near = (
  found: Readonly<Record<string, readonly number[]>>,
  wanted: Readonly<Record<string, readonly number[]>>,
) => {
  for (const [name, values] of Object.entries(wanted))
    for (const [i, value] of values.entries()) expect(found[name]![i], `${name}[${i}]`).toBeCloseTo(value, 5);
};

describe("a teacher that follows a student", () => {
  it("starts as the student, and is updated before each forward pass", async () => {
    const one = await trained("one", 0.75, 1);
    const start = one.teacher; // after one step the teacher still equals the initial student
    near(one, byHand(start, [0.75]));
    near(await trained("four", 0.75, 4), byHand(start, [0.75, 0.75, 0.75, 0.75]));
  });

  it("takes a schedule of the decay, and resumes with its weights", async () => {
    const growing: h.Schedule = (step) => h.add(0.5, h.mul(step, 0.125));
    const start = (await trained("start", growing, 1)).teacher;
    await trained("resumed", growing, 2);
    near(await trained("resumed", growing, 3), byHand(start, [0.5, 0.625, 0.75]));
  });

  it("is updated once a step with accumulation", async () => {
    const start = (await trained("before", 0.75, 1)).teacher;
    const { student, teacher } = await trained("accumulated", 0.75, 3, 2);
    near({ student, teacher }, { ...byHand(start, [0.75, 0.75, 0.75]), queue: [] });
  });

  it("is read by a model under its own path, and counts as no parameter", () => {
    const traced = (p: (root: h.Params) => h.Params) =>
      h.inspect(
        h.defineModel({ name: "m", summary: "m", config: {}, build: (root) => ({ y: encode(p(root), rows()) }) }),
      );
    expect(traced((p) => p.scope("teacher"))).toContain("teacher.layer.w");
    expect(traced((p) => h.emaTeacher(p.scope("teacher"), p.scope("student"), { decay: 0.9, updates: [] }))).toMatch(
      /buffer.*teacher\.layer\.w|teacher\.layer\.w.*buffer/,
    );
  });
});

describe("mistakes", () => {
  const loss = (make: (p: h.Params) => h.StateUpdate[]) => () =>
    h.trainingStep(
      h.defineStage({
        name: "wrong",
        loss: (p) => ({ loss: h.sum(p.parameter("w", [feature], h.ones), feature), updates: make(p) }),
        optimizer: { rate: h.constantRate(0.1) },
      }),
    );
  it("are named", () => {
    expect(loss((p) => [h.buffer(p, "queue", [slot], h.zeros).update(h.constant(1) as never)])).toThrow(
      'the buffer "queue" is f32[slot=5], but its update is f32[]',
    );
    const teacher = (decay: number) => (p: h.Params) => {
      h.emaTeacher(p.scope("t"), p, { decay, updates: [] });
      return [];
    };
    expect(loss(teacher(1))).toThrow("the decay of emaTeacher must be at least 0 and below 1");
    const once = { oncePerStep: true };
    // No other test file of this process has this input: an equal node would have its line.
    const own = () => h.input("rows_of_kept", "f32", [batch, feature]);
    expect(loss((p) => [h.buffer(p, "kept", [batch, feature], h.zeros).update(own(), once)])).toThrow(
      /the update of "kept" has oncePerStep, but reads the input "rows_of_kept" \(.*ema-teacher\.test\.ts/,
    );
    expect(
      loss((p) => {
        h.emaTeacher(p, p, { decay: 0.9, updates: [] });
        return [];
      }),
    ).toThrow('the teacher and the student are one scope, ""');
  });
});
