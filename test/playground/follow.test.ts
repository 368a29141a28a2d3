/** What follows an edit: the model compiles while its types are checked, and either may come first, fail or be late. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type FollowOptions, follow } from "../../playground/follow.ts";

/** A promise that is resolved by hand. */
const later = <T>() => Promise.withResolvers<T>();

/** Calls of the compile worker that were not answered yet, oldest first. */
let asked: { readonly name: string; readonly given: readonly unknown[]; answer(with_: object): void }[] = [];

/** What waits for a worker that no test answers must not run in another file. */
const timers: NodeJS.Timeout[] = [];

beforeEach(() => {
  asked = [];
  vi.stubGlobal("window", {
    setTimeout: (run: () => void, ms: number) => timers[timers.push(setTimeout(run, ms)) - 1],
  });
  vi.stubGlobal("document", { baseURI: "http://localhost/" });
  vi.stubGlobal("Worker", function worker() {
    let answer: (event: { data: object }) => void;
    return {
      addEventListener: (type: string, listener: typeof answer) => type === "message" && (answer = listener),
      postMessage: ({ id, name, given }: { id: number; name: string; given: unknown[] }) =>
        asked.push({ name, given, answer: (with_) => answer({ data: { id, ...with_ } }) }),
      terminate: () => {},
    };
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  for (const timer of timers.splice(0)) clearTimeout(timer);
});

const model = { stages: [], graphs: [] };

function opened(text: string, device: Promise<object | undefined> = Promise.resolve(undefined)) {
  const [ready, checked, code] = [later<void>(), later<readonly object[]>(), vi.fn()];
  const [said, shown, underlined]: [string[], unknown[], unknown[]] = [[], [], []];
  const status = { textContent: "", classList: { toggle: () => {} } };
  const { changed } = follow({
    editor: { text: () => text, show: (all: unknown) => underlined.push(all) },
    language: { call: { mistakes: () => checked.promise, code } },
    ready: ready.promise,
    compile: {
      busy: (what: string) => said.push(what),
      show: () => shown.push("result"),
      stale: () => shown.push("stale"),
      faults: (all: readonly { title: string; text: string }[]) => shown.push(all.map((f) => `${f.title}: ${f.text}`)),
      subject: () => ({ subject: { kind: "graph" }, batch: 1 }),
    },
    run: { opened: device, show: () => shown.push("model to train") },
    worker: "compile-worker.js",
    status,
  } as unknown as FollowOptions);
  changed();
  const answered = async (name: string, with_: object) => {
    await vi.waitFor(() => expect(asked[0]?.name).toBe(name));
    const call = asked.shift()!;
    call.answer(with_);
    return call.given;
  };
  return { ready, checked, code, said, shown, underlined, status, answered };
}

it("compiles without the type checker, which comes when it comes", async () => {
  const { ready, checked, code, shown, status, answered } = opened("const a: number = 1;\nexport default a;");
  const [given] = await answered("load", { result: model });
  expect(given).toMatchObject({ js: "const a         = 1;\nexport default a;" });
  await answered("compile", { result: {} });
  await vi.waitFor(() => expect(shown).toEqual(["result", "model to train", []]));
  expect(status.textContent).toBe("loading the type checker …");
  ready.resolve();
  await vi.waitFor(() => expect(status.textContent).toBe("checking types …"));
  checked.resolve([{ from: 21, to: 22, message: "Wrong.", severity: "error" }]);
  await vi.waitFor(() => expect(status.textContent).toBe("1 error"));
  expect(shown.slice(3)).toEqual([["Type errors: line 2: Wrong."]]);
  expect(code).not.toHaveBeenCalled();
});

it("waits for TypeScript where types alone cannot be erased", async () => {
  const { ready, checked, code, said, answered } = opened("enum Kind { a }\nexport default Kind;");
  await vi.waitFor(() => expect(said).toEqual(["loading the type checker …"]));
  ready.resolve();
  checked.resolve([]);
  code.mockResolvedValue({ js: "as TypeScript writes it" });
  expect(await answered("load", { result: model })).toEqual([{ js: "as TypeScript writes it" }]);
  expect(said.at(-1)).toBe("compiling …");
});

it("shows why a module was not compiled, at its place, and what TypeScript says of it", async () => {
  const { ready, checked, shown, underlined, answered } = opened("export default 1;");
  ready.resolve();
  await answered("load", { fault: { name: "UsageError", message: "no model\n  at model.ts:1:16" } });
  checked.resolve([{ from: 0, to: 1, message: "Bad.", severity: "error" }]);
  const faults = ["UsageError: no model\n  at model.ts:1:16", "Type errors: line 1: Bad."];
  await vi.waitFor(() => expect(shown).toEqual(["stale", faults]));
  expect(underlined.at(-1)).toMatchObject([{ from: 0 }, { from: 15, to: 16 }]);
});

it("compiles where the type checker cannot be loaded, and says that it was not", async () => {
  const { ready, shown, status, answered } = opened("export default 1;");
  ready.reject(new Error("HTTP 404"));
  await answered("load", { result: model });
  await answered("compile", { result: {} });
  await vi.waitFor(() => expect(shown).toContain("result"));
  expect(status.textContent).toBe("types are not checked: HTTP 404");
});

it("compiles without a device that does not answer, and again when it does", async () => {
  vi.useFakeTimers();
  try {
    const device = later<object | undefined>();
    const { answered, shown } = opened("export default 1;", device.promise);
    await vi.advanceTimersByTimeAsync(9_000);
    expect(asked).toEqual([]);
    await vi.advanceTimersByTimeAsync(1_100);
    await answered("load", { result: model });
    expect((await answered("compile", { result: {} }))[1]).not.toHaveProperty("facts");
    await vi.waitFor(() => expect(shown).toContain("result"));
    device.resolve({ facts: "those of the device" });
    await vi.advanceTimersByTimeAsync(300);
    await answered("load", { result: model });
    expect((await answered("compile", { result: {} }))[1]).toMatchObject({ facts: "those of the device" });
  } finally {
    vi.useRealTimers();
  }
});
