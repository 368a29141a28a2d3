/** Calls into a worker: answers and errors come back to the call that asked. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { client } from "../../playground/shell/rpc.ts";

interface Asked {
  readonly id: number;
  readonly name: string;
  readonly given: readonly unknown[];
}

const worker: { asked: Asked[]; answer: (data: object) => void } = { asked: [], answer: () => {} };

beforeEach(() => {
  worker.asked = [];
  vi.stubGlobal("document", { baseURI: "http://localhost/" });
  vi.stubGlobal("Worker", function fake() {
    return {
      addEventListener: (type: string, listen: (event: { data: object }) => void) =>
        type === "message" && (worker.answer = (data) => listen({ data })),
      postMessage: (asked: Asked) => worker.asked.push(asked),
      terminate: () => {},
    };
  });
});
afterEach(() => vi.unstubAllGlobals());

type Sums = { readonly add: (a: number, b: number) => number };

it("answers the call that asked, in whatever order", async () => {
  const { call } = client<Sums>("sums.js");
  const [first, second] = [call.add(1, 2), call.add(3, 4)];
  expect(worker.asked.map(({ name, given }) => [name, given])).toEqual([
    ["add", [1, 2]],
    ["add", [3, 4]],
  ]);
  const [one, two] = worker.asked;
  worker.answer({ id: two!.id, fault: { name: "RangeError", message: "too large" } });
  worker.answer({ id: one!.id, result: 3 });
  await expect(second).rejects.toMatchObject({ name: "RangeError", message: "too large" });
  expect(await first).toBe(3);
});

it("has functions that an async function may return: they are no promise", async () => {
  const { call } = client<Sums>("sums.js");
  expect(await (async () => call)()).toBe(call);
  expect(worker.asked).toEqual([]);
});

it("rejects what is pending when it is disposed of, and what is asked later", async () => {
  const { call, dispose } = client<Sums>("sums.js");
  const pending = call.add(1, 2);
  dispose();
  await expect(pending).rejects.toMatchObject({ message: "stopped" });
  await expect(call.add(1, 2)).rejects.toMatchObject({ message: "stopped" });
});
