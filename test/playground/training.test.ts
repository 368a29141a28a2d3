/** What a person does while the worker is still busy: it is done once, and what is late is dropped. */
import { expect, it, vi } from "vitest";
import type { RunService, RunSettings } from "../../playground/machine/run-worker.ts";
import { type ModelWorker, modelWorker, type ShownModel } from "../../playground/run-pane/model-worker.ts";
import type { TrainView } from "../../playground/run-pane/train-view.ts";
import { type Training, training } from "../../playground/run-pane/training.ts";
import type { Client } from "../../playground/shell/rpc.ts";

/** Calls of the worker that were not answered yet, oldest first. */
interface Asked {
  readonly name: string;
  readonly given: readonly unknown[];
  readonly answer: (result?: unknown) => void;
  readonly fail: (error: Error) => void;
}

interface Page {
  readonly worker: ModelWorker;
  readonly control: Training;
  readonly asked: Asked[];
  /** Waits for a call of this name, the oldest, and takes it. */
  readonly next: (name: string) => Promise<Asked>;
  readonly left: ReturnType<typeof vi.fn>;
  readonly enter: (steps: number) => void;
}

function page(): Page {
  const asked: Asked[] = [];
  const ask = (name: string, given: readonly unknown[]) =>
    new Promise((answer, fail) => void asked.push({ name, given, answer, fail }));
  const call = new Proxy({} as Client<RunService>["call"], {
    get: (_, name: string) => (name === "then" ? undefined : (...given: unknown[]) => ask(name, given)),
  });
  const worker = modelWorker({ call, dispose: () => {} });
  let steps = 10;
  const left = vi.fn();
  const view = {
    ...{ left, offer: vi.fn(), state: vi.fn(), failed: vi.fn(), notice: vi.fn() },
    settings: (): RunSettings => ({ stage: "1", settings: { steps, batch: 2, rate: 0.1 }, seed: 7 }),
  } as unknown as TrainView;
  const control = training({
    ...{ worker, view, hasDevice: async () => true, badge: () => {}, onWeights: () => {} },
    pack: async () => ({ emoji: [], artists: [], credits: [], sheet: "" }) as never,
  });
  const next = async (name: string) => {
    await vi.waitFor(() => expect(asked[0]?.name).toBe(name));
    return asked.shift()!;
  };
  return { worker, control, asked, next, left, enter: (n) => void (steps = n) };
}

const model = (source: string): ShownModel =>
  ({ code: { source }, model: { name: source, stages: [{ name: "1" }] } }) as unknown as ShownModel;

/** Lets everything run that waits for nothing. */
const settled = () => new Promise((resolve) => setImmediate(resolve));

it("loads a model once for several that wait for it, and again after it failed", async () => {
  const { worker, next, asked } = page();
  worker.show(model("a"));
  const both = [worker.ready(), worker.ready()];
  (await next("load")).fail(new Error("no device"));
  for (const one of both) await expect(one).rejects.toThrow("no device");
  const again = worker.ready();
  (await next("load")).answer();
  await again;
  await worker.ready();
  expect(asked).toEqual([]);
});

it("removes the runs once and trains once, when “Start over” is clicked twice", async () => {
  const { worker, control, next, asked } = page();
  worker.show(model("a"));
  control.reset();
  control.reset();
  control.start();
  (await next("reset")).answer();
  (await next("load")).answer();
  const run = await next("train");
  control.reset();
  await settled();
  expect(asked).toEqual([]);
  run.answer(true);
});

it("shows the earlier run of the newest settings, in whatever order the answers come", async () => {
  const { worker, control, next, left, enter } = page();
  worker.show(model("a"));
  control.look();
  (await next("load")).answer();
  const first = await next("resume");
  enter(20);
  control.look();
  const second = await next("resume");
  second.answer({ step: 15, points: [] });
  first.answer({ step: 5, points: [] });
  await settled();
  expect(left.mock.calls).toEqual([[{ step: 15, points: [] }, 20]]);
});

it("offers a model that was changed while runs are removed", async () => {
  const { worker, control, next, asked } = page();
  worker.show(model("a"));
  control.reset();
  const reset = await next("reset");
  worker.show(model("b"));
  control.modelChanged(false);
  reset.answer();
  expect((await next("load")).given).toMatchObject([{ source: "b" }]);
  await settled();
  expect(asked).toEqual([]);
});
