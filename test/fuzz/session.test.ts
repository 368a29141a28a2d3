/** A long run stops and resumes: ranges of seeds, the session file, and the exit status. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { main } from "./command.ts";
import { missing, openSession, type Session, withSeed } from "./session.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-fuzz-"));
});
afterAll(() => rmSync(folder, { recursive: true }));

const read = (file: string) => JSON.parse(readFileSync(file, "utf8")) as Session;

test("seeds that are done join into ranges, and only the others are missing", () => {
  const done = [5, 3, 4, 9].reduce<readonly (readonly [number, number])[]>(withSeed, []);
  expect(done).toEqual([
    [3, 6],
    [9, 10],
  ]);
  expect([...missing([2, 11], done)]).toEqual([2, 6, 7, 8, 10]);
});

test("a run goes on where its file says, and a seed that ended the process is told", async () => {
  const file = join(folder, "session.json");
  const written = vi.spyOn(process.stderr, "write").mockReturnValue(true);
  const printed = vi.spyOn(process.stdout, "write").mockReturnValue(true);
  const run = (seeds: string) => main(["--seeds", seeds, "--only", "reference,interpreter", "--resume", file]);
  expect(await run("0..3")).toBe(0);
  expect(read(file).done).toEqual([[0, 3]]);
  writeFileSync(file, JSON.stringify({ ...read(file), running: 4 }));
  expect(await run("2..6")).toBe(1);
  expect(read(file).done).toEqual([[0, 6]]);
  expect(read(file).findings.map((f) => [f.seed, f.fault.kind])).toEqual([[4, "crash"]]);
  expect(printed.mock.calls.flat().join("")).toMatch(/seed 4 on the process: crash/);
  expect(written.mock.calls.flat().join("")).toMatch(/2 of 4 seeds/);
  vi.restoreAllMocks();
  expect(() => openSession(file, ["tiles", "webgpu"])).toThrow(
    /ran on fused,reference,interpreter, not on tiles,webgpu/,
  );
});
