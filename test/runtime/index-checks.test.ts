/**
 * Labels and ids that choose nothing end a run with their place and sample, and cost it nothing that was done before.
 */
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { referenceBackend } from "../../backends/reference/index.ts";
import { type HostTensor, hostTensor } from "../../compiler/index.ts";
import {
  type AnyTensor,
  axis,
  axisOf,
  cast,
  constantInit,
  constantRate,
  crossEntropy,
  defineStage,
  gather,
  ge,
  input,
  max,
  mean,
  mul,
  ne,
  type Params,
  select,
  slice,
  trainingStep,
} from "../../dsl/index.ts";
import { train } from "../../runtime/index.ts";
import { indexChecks } from "../../runtime/training/index-checks.ts";
import { tinyFeeds, tinyJob } from "../support/tiny-job.ts";

const [batch, token] = [axis("batch", "batch"), axis("token", 4)];
const [vocab, classes] = [axis("vocab", 7), axis("class", 5)];
const ids = () => input("ids", "i32", [batch, token]);
const scores = (p: Params): AnyTensor =>
  gather(p.parameter("table", [vocab, classes], constantInit(0.1)), ids(), vocab);
const rows = (values: readonly number[]): HostTensor =>
  hostTensor(
    "i32",
    [
      { name: "batch", size: values.length / 4 },
      { name: "token", size: 4 },
    ],
    values,
  );

const right = { ids: rows([0, 1, 2, 3, 4, 5, 6, 0]) };

/** The message for a batch of two rows, or nothing. */
function fault(loss: (p: Params) => unknown, feeds: Readonly<Record<string, HostTensor>>, names?: readonly string[]) {
  const stage = defineStage({ name: "s", loss: loss as never, optimizer: { rate: constantRate(0.1) } });
  const check = indexChecks({ step: trainingStep(stage), sizes: { batch: 2 } });
  try {
    check({ feeds: { ...right, ...feeds }, next: 0, ...(names && { names }) }, 3);
    return "";
  } catch (error) {
    return (error as Error).message;
  }
}

describe("indices of a batch", () => {
  const plain = (p: Params) => {
    const all = scores(p);
    return { loss: mean(crossEntropy(all, input("label", "i32", [batch, token]), classes), [batch, token]) };
  };

  it("are refused beyond the axis, below it, and not as whole numbers, with the place and the sample", () => {
    expect(fault(plain, { label: rows([0, 1, 2, 3, 4, 0, 1, 2]) })).toBe("");
    expect(fault(plain, { label: rows([0, 1, 2, 3, 4, 5, 1, 2]) }, ["a.jpg", "b.jpg"])).toMatch(
      /^step 3: input "label" is 5 at \[batch=1, token=1\] of b\.jpg, but cross_entropy at .*index-checks\.test\.ts:\d+:\d+ reads axis "class", whose indices are 0 to 4\n {2}hint: /,
    );
    expect(fault(plain, { label: rows([-1, 1, 2, 3, 4, 0, 1, 2]) })).toContain('"label" is -1 at [batch=0, token=0],');
    const ids = rows([0, 1, 2, 3, 4, 5, 7, 0]);
    expect(fault(plain, { label: rows([0, 0, 0, 0, 0, 0, 0, 0]), ids })).toMatch(/"ids" is 7 at .*axis "vocab"/);
    expect(() => rows([0, 1.5, 0, 0])).toThrow("element 1 is 1.5, which i32 does not hold");
    const float = (p: Params) => {
      const label = cast(input("label", "f32", [batch, token]), "i32");
      return { loss: mean(crossEntropy(scores(p), label, classes), [batch, token]) };
    };
    const half = { ...rows([0, 0, 0, 0, 0, 0, 0, 0]), dtype: "f32" as const };
    const of = (x: number) => ({ label: { ...half, data: Float32Array.of(0, x, 0, 0, 0, 0, 0, 0) } });
    expect(fault(float, of(1))).toBe("");
    expect(fault(float, of(1.5))).toContain("is 1.5 at [batch=0, token=1], which is not an integer");
    expect(fault(float, of(Number.NaN))).toContain("is NaN");
  });

  it("may be what the model says stands for none", () => {
    const ignoring = (p: Params) => {
      const label = slice(input("label", "i32", [batch, token]), token, 1, 3);
      const own = slice(scores(p), token, 0, 3);
      const losses = crossEntropy(own, max(label, 0), classes);
      return { loss: mean(mul(losses, cast(ge(label, 0), "f32")) as AnyTensor, [batch, axisOf(label, "token")]) };
    };
    expect(fault(ignoring, { label: rows([-100, -100, -100, 4, -1, 0, 1, -100]) })).toBe("");
    expect(fault(ignoring, { label: rows([-100, -100, 9, 4, -1, 0, 1, -100]) })).toContain('"label" is 9');
    const marked = (p: Params) => {
      const label = input("label", "i32", [batch, token]);
      const known = ne(label, 255);
      const losses = crossEntropy(scores(p), select(known, label, 0), classes);
      return { loss: mean(mul(losses, cast(known, "f32")), [batch, token]) };
    };
    expect(fault(marked, { label: rows([255, 255, 0, 4, 1, 2, 3, 255]) })).toBe("");
    expect(fault(marked, { label: rows([255, 254, 0, 4, 1, 2, 3, 255]) })).toContain('"label" is 254');
  });

  const root = mkdtempSync(join(tmpdir(), "heddle-indices-"));
  afterAll(() => rmSync(root, { recursive: true }));

  it("end a run after the steps before it are saved", async () => {
    const job = tinyJob(5, {
      async *batches() {
        for (let i = 0; ; i += 1) {
          const feeds = tinyFeeds(i);
          if (i === 2) feeds.ids.data[6] = 17;
          yield { feeds, names: ["a", "b", "c", "d"], next: i + 1 };
        }
      },
    });
    const trained = train(job, { folder: root, backend: referenceBackend(), note: () => {} });
    await expect(trained).rejects.toThrow(
      /^step 3: input "ids" is 17 at \[batch=1, token=1\] of b, .* axis "vocab", whose indices are 0 to 16/,
    );
    expect(existsSync(join(root, "checkpoints", "step-000002"))).toBe(true);
  });
});
