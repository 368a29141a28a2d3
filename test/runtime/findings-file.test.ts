/** Findings on disk: read back as they were written, and passed over with a line where they are not to be trusted. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { Findings } from "../../compiler/index.ts";
import { readFindings, writeFindings } from "../../runtime/index.ts";
import { scratch } from "../cli/support.ts";

const folder = scratch("findings");
afterAll(folder.remove);

const basis = { adapter: "Acme 3000", driver: "1.2.3", heddle: "0.1.0" };
const findings: Findings = new Map([
  ["0123456789abcdef", [{ schedule: "registers", settings: { threads: 64 }, sizes: { batch: 2 } }]],
  ["fedcba9876543210", [{ schedule: "shared-tiles", settings: { side: 32, depth: 8 }, sizes: {} }]],
]);

describe("findings on disk", () => {
  it("are none where nothing was written, and nothing is said", async () => {
    expect(await readFindings(folder.at("none", "at", "all.json"), basis)).toEqual({ findings: new Map() });
  });

  it("read back as they were, and leave nothing else behind", async () => {
    const path = folder.at("new", "folder", "acme.json");
    await writeFindings(path, basis, findings);
    expect(await readFindings(path, basis)).toEqual({ findings });
    await writeFindings(path, basis, new Map());
    expect(await readFindings(path, basis)).toEqual({ findings: new Map() });
    expect(readdirSync(dirname(path))).toEqual(["acme.json"]);
  });

  it.each([
    ["driver", { ...basis, driver: "1.2.4" }, 'driver was "1.2.3" and is now "1.2.4"'],
    ["schedules", { ...basis, schedules: "abc" }, 'schedules was "unknown" and is now "abc"'],
    ["heddle", { adapter: basis.adapter, driver: basis.driver }, 'heddle was "0.1.0" and is now "unknown"'],
  ])("of another basis are ignored: %s", async (_, now, reason) => {
    const path = folder.at("other.json");
    await writeFindings(path, basis, findings);
    const read = await readFindings(path, now);
    expect(read).toEqual({
      findings: new Map(),
      ignored: `findings in ${path} are ignored: ${reason}; heddle tune measures them again`,
    });
  });

  const whole = { format: 1, basis, value: Object.fromEntries(findings) };
  it.each([
    ["cut off", JSON.stringify(whole).slice(0, 90), /JSON/],
    ["empty", "", /JSON/],
    ["a list", "[]", /it is not a JSON object/],
    ["of a later format", JSON.stringify({ ...whole, format: 2 }), /its format is 2, not 1/],
    ["without a basis", JSON.stringify({ ...whole, basis: null }), /does not record what they were measured on/],
    ["with a number for a list", JSON.stringify({ ...whole, value: { a: 3 } }), /not valid findings/],
    [
      "with a text for a setting",
      JSON.stringify({ ...whole, value: { a: [{ schedule: "x", settings: { t: "64" }, sizes: {} }] } }),
      /not valid findings/,
    ],
  ])("that are %s are ignored, in one line", async (_, text, reason) => {
    const path = folder.at("damaged.json");
    writeFileSync(path, text);
    const read = await readFindings(path, basis);
    expect(read.findings.size).toBe(0);
    expect(read.ignored).toMatch(reason);
    expect(read.ignored).not.toContain("\n");
    await writeFindings(path, basis, findings); // and are written anew
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(whole);
  });

  it("that are a folder are ignored too", async () => {
    const path = folder.at("a-folder.json");
    mkdirSync(path);
    expect((await readFindings(path, basis)).ignored).toContain("not a regular file");
  });
});
