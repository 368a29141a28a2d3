/** heddle tune: findings are kept, used by what runs after, and ignored where that is asked for. */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openDevice } from "../../cli/index.ts";
import { parseGraph } from "../../compiler/index.ts";
import { heddle, scratch } from "./support.ts";

const folder = scratch("tune");
const text = `graph @tiny(%x: f32[row=rows, inner=40], %w: f32[inner=40, column=70]) {
  %0 = contract %x, %w over [inner]
  return %0 as y
}`;

beforeAll(() => {
  writeFileSync(folder.at("tiny.graph"), text);
  vi.stubEnv("HEDDLE_CACHE", folder.at("cache"));
  vi.stubEnv("HEDDLE_TUNING", "");
  vi.stubEnv("HEDDLE_ADAPTER", "swiftshader");
});
afterAll(() => {
  vi.unstubAllEnvs();
  folder.remove();
});

const tune = (...more: string[]) => heddle("tune", folder.at("tiny.graph"), "--size", "rows=9", ...more);
const file = () => folder.at("cache", "findings", readdirSync(folder.at("cache", "findings"))[0]!);

interface Kept {
  basis: Record<string, string>;
  value: Record<string, { schedule: string; settings: Record<string, number>; sizes: Record<string, number> }[]>;
}
const kept = (): Kept => JSON.parse(readFileSync(file(), "utf8")) as Kept;

/** What opening the device and compiling the graph says on stderr. */
async function opened(options?: { tuning: boolean }) {
  const err: string[] = [];
  const spy = vi.spyOn(process.stderr, "write").mockImplementation((t) => err.push(String(t)) > 0);
  const { backend, reason } = await openDevice("webgpu", options);
  await backend.compile(parseGraph(text));
  backend.dispose();
  spy.mockRestore();
  return { reason, err: err.join("") };
}

describe("heddle tune", () => {
  it("prints each kernel with what was found, and keeps the findings", async () => {
    const { status, out, err } = await tune("--budget", "30s");
    expect(status).toBe(0);
    expect(err).toMatch(/^device: SwiftShader/);
    expect(err).toMatch(/1\/1 contract: \d+ variants timed, /);
    expect(out).toMatch(/^kernel +count +before +after +gain +by\ncontract +1 /);
    expect(out).toContain("all kernels together: ");
    expect(out).toContain(`saved in ${file()}`);
    expect(kept().basis).toMatchObject({ "npm webgpu": "0.6.2", driver: expect.stringContaining("SwiftShader") });
  });

  it("for programs prints every way that was timed", async () => {
    const report = JSON.parse((await tune("--budget", "30s", "--json")).out);
    expect(report).toMatchObject({ model: "tiny", sizes: { rows: 9 }, path: file() });
    const [kernel] = report.results;
    expect(kernel.timed.length).toBeGreaterThan(1);
    // A way that is not the table's own, as if it had won: what runs after must take it.
    const other = kernel.timed.find((t: { schedule: string }) => t.schedule === "registers");
    const { schedule, settings } = other;
    const finding = { schedule, settings, sizes: { rows: 9 } };
    writeFileSync(file(), JSON.stringify({ ...kept(), format: 1, value: { [kernel.mark]: [finding] } }));
  });

  it("is used by what opens the device, which says so", async () => {
    const { reason, err } = await opened();
    expect(reason).toMatch(/; 1 tuned kernel shape\)$/);
    expect(err).toBe("tiny: 1 of 1 kernels use results of heddle tune\n");
  });

  it("is left aside where that is asked for", async () => {
    expect(await opened({ tuning: false })).toEqual({ reason: expect.not.stringContaining("tuned"), err: "" });
    vi.stubEnv("HEDDLE_TUNING", "off");
    expect(await opened()).toEqual({ reason: expect.not.stringContaining("tuned"), err: "" });
    vi.stubEnv("HEDDLE_TUNING", "");
  });

  it("by other code of heddle is ignored in one line", async () => {
    const { basis, ...rest } = kept();
    writeFileSync(file(), JSON.stringify({ ...rest, basis: { ...basis, code: "another" } }));
    const { reason, err } = await opened();
    expect(reason).not.toContain("tuned");
    expect(err).toMatch(
      / are ignored: code was "another" and is now "[0-9a-f]{16}"; heddle tune measures them again\n$/,
    );
    writeFileSync(file(), JSON.stringify({ ...rest, basis }));
  });

  it("of another driver is ignored in one line, and tuned anew", async () => {
    const { basis, ...rest } = kept();
    writeFileSync(file(), JSON.stringify({ ...rest, basis: { ...basis, driver: "an older one" } }));
    const { reason, err } = await opened();
    expect(reason).not.toContain("tuned");
    expect(err).toMatch(
      /^findings in .* are ignored: driver was "an older one" and is now "SwiftShader.*"; heddle tune measures them again\n$/,
    );
    expect((await tune("--budget", "10s")).err).toContain("are ignored");
    expect((await opened()).err).not.toContain("ignored");
  });

  it.each([
    [["--stage", "1"], "has no stage"],
    [["--size", "columns=3"], 'has no open size "columns"'],
    [["--budget", "soon"], "must be a time"],
  ])("refuses %j", async (more, message) => {
    const { status, err } = await tune(...more);
    expect(status).not.toBe(0);
    expect(err).toContain(message);
  });
});

describe("where nothing can be kept", () => {
  beforeAll(() => {
    writeFileSync(folder.at("no-folder"), "");
    vi.stubEnv("HEDDLE_CACHE", folder.at("no-folder"));
  });
  afterAll(() => vi.stubEnv("HEDDLE_CACHE", folder.at("cache")));

  it("heddle tune says so before it takes any time", async () => {
    const { status, out, err } = await tune("--budget", "30s");
    expect(status).toBe(1);
    expect(out).toBe("");
    expect(err).toMatch(/FileError: cannot create .*no-folder/);
    expect(err).not.toContain("variants timed");
  });

  it("heddle devices --measure prints what it measured", { timeout: 60_000 }, async () => {
    const { status, out, err } = await heddle("devices", "--measure");
    expect(err).toMatch(/^the measured ceilings were not cached: cannot create .*no-folder/m);
    expect(out).toMatch(/copy by a kernel/);
    expect(status).toBe(0);
  });
});
