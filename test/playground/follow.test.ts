/** What the compile pane says between an edit and its result. */
import { afterEach, expect, it, vi } from "vitest";
import { type FollowOptions, follow } from "../../playground/follow.ts";

afterEach(() => vi.unstubAllGlobals());

/** A promise that is resolved by hand. */
const later = <T>() => Promise.withResolvers<T>();

it("is what is being done: loading the type checker, checking types, compiling", async () => {
  vi.stubGlobal("window", globalThis);
  vi.stubGlobal("document", { baseURI: "http://localhost/" });
  const none = () => {};
  vi.stubGlobal("Worker", function silent() {
    return { addEventListener: none, postMessage: none, terminate: none };
  });
  const [ready, checked, coded] = [later<void>(), later<readonly never[]>(), later<never>()];
  const said: string[] = [];
  const { changed } = follow({
    editor: { text: () => "export default 1;", show: () => {} },
    language: { call: { mistakes: () => checked.promise, code: () => coded.promise } },
    ready: ready.promise,
    compile: { busy: (text: string) => said.push(text), fail: (title: string) => said.push(title) },
    run: { opened: Promise.resolve(undefined) },
    worker: "compile-worker.js",
    status: { classList: { toggle: () => {} } },
  } as unknown as FollowOptions);
  changed();
  await vi.waitFor(() => expect(said).toEqual(["loading the type checker …"]));
  ready.resolve();
  await vi.waitFor(() => expect(said.at(-1)).toBe("checking types …"));
  checked.resolve([]);
  await vi.waitFor(() => expect(said.at(-1)).toBe("compiling …"));
  coded.reject(new Error("broken"));
  await vi.waitFor(() => expect(said.at(-1)).toBe("Not compiled"));
  changed();
  await vi.waitFor(() => expect(said.slice(4)).toContain("checking types …"));
  expect(said.filter((text) => text.startsWith("loading"))).toHaveLength(1);
});
