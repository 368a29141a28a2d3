/** Whatever a user's code throws is told as theirs: anything can be thrown, with fields that are no text or throw. */
import { writeFileSync } from "node:fs";
import { afterAll, expect, it } from "vitest";
import { faultText } from "../../cli/fault-text.ts";
import { heddle, modelFile, scratch } from "./support.ts";

const folder = scratch("fault-text");
afterAll(() => folder.remove());

const refuse = () => {
  throw new Error("a getter");
};
const withField = (field: string, how: PropertyDescriptor) =>
  Object.defineProperty(new Error("no"), field, { configurable: true, ...how });

it.each<[string, () => unknown, string | RegExp]>([
  ["a message that throws", () => withField("message", { get: refuse }), /^Error at .*: its message is not text/],
  ["a message that is a symbol", () => withField("message", { value: Symbol("m") }), /^Error at .*not text/],
  ["a message without text", () => withField("message", { value: { toString: null } }), /^Error at .*not text/],
  ["a name that throws", () => withField("name", { get: refuse }), /^Error at .*: no$/m],
  ["a name that is a symbol", () => withField("name", { value: Symbol("n") }), /^Error at .*: no$/m],
  ["a stack that throws", () => withField("stack", { get: refuse }), "UsageError: Error: no; its stack cannot be read"],
  ["a stack that is a number", () => withField("stack", { value: 5 }), "so its line is unknown"],
  ["a field that cannot be replaced", () => Object.freeze(withField("message", { get: refuse })), "cannot be printed"],
  ["a proxy", () => new Proxy(new Error("no"), { getPrototypeOf: refuse, get: refuse }), "cannot be printed"],
  [
    "an object that throws when printed",
    () => ({ [Symbol.for("nodejs.util.inspect.custom")]: refuse }),
    "cannot be printed",
  ],
])("%s", (_, thrown, says) => {
  const { text, status } = faultText(thrown());
  expect(text).toMatch(says);
  expect(text).not.toContain("heddle itself failed");
  expect(status).toBe(1);
});

it.each([
  [
    "a model that throws one",
    "build: () => { throw error; }",
    /^Error at .*a-model[^:]*\.ts:2:\d+: its message is not/,
  ],
  ["an export that is a revoked proxy", "", /^UsageError: an export of the file cannot be read: .*revoked/],
])("%s is a user's mistake", async (name, build, says) => {
  const file = folder.at(`${name.replaceAll(" ", "-")}.ts`);
  const revoked = "const { proxy, revoke } = Proxy.revocable({}, {}); revoke(); export default proxy;";
  const model = `const error = Object.defineProperty(new Error("no"), "message", { get: () => { throw 1; } });
export default defineModel({ name: "m", summary: "", config: {}, ${build} } as never);`;
  const door = `import { defineModel } from "${modelFile("../../dsl/index.ts")}";`;
  writeFileSync(file, `${door} void defineModel;\n${build === "" ? revoked : model}\n`);
  const { status, err } = await heddle("inspect", file);
  expect(err).toMatch(says);
  expect(status).toBe(1);
});
