import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { requestDevice } from "../../backends/webgpu/runtime/adapter.ts";
import { installedDrivers, withDrivers } from "../../backends/webgpu/runtime/node-vulkan.ts";
import { UsageError } from "../../compiler/index.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "heddle-drivers-"));
  for (const name of ["VK_DRIVER_FILES", "VK_ICD_FILENAMES", "HEDDLE_ADAPTER"]) vi.stubEnv(name, undefined);
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

describe("choosing an adapter", () => {
  test("an unknown HEDDLE_ADAPTER is the user's mistake", async () => {
    vi.stubEnv("HEDDLE_ADAPTER", "swiftshade");
    await expect(requestDevice({ prefer: "software" })).rejects.toThrow(UsageError);
    await expect(requestDevice({ prefer: "software" })).rejects.toThrow(
      'HEDDLE_ADAPTER is "swiftshade"\n  hint: expected one of system, swiftshader, lavapipe',
    );
  });

  test("drivers are those of the environment, else those in the loader's folders", () => {
    const drivers = join(folder, "vulkan", "icd.d");
    mkdirSync(drivers, { recursive: true });
    writeFileSync(join(drivers, "acme_icd.json"), "{}");
    writeFileSync(join(drivers, "README"), "");
    vi.stubEnv("XDG_DATA_DIRS", folder);
    expect(installedDrivers()).toContain(join(drivers, "acme_icd.json"));
    expect(installedDrivers()).not.toContain(join(drivers, "README"));
    vi.stubEnv("VK_ICD_FILENAMES", "one.json:two.json");
    expect(installedDrivers()).toEqual(["one.json", "two.json"]);
  });

  test("the environment is as before after asking with a chosen driver", () => {
    vi.stubEnv("VK_ICD_FILENAMES", "mine.json");
    const seen = withDrivers(["a.json"], () => [process.env.VK_DRIVER_FILES, process.env.VK_ICD_FILENAMES]);
    expect(seen).toEqual(["a.json", "a.json"]);
    expect(process.env.VK_ICD_FILENAMES).toBe("mine.json");
    expect("VK_DRIVER_FILES" in process.env).toBe(false);
    expect(() =>
      withDrivers(["a.json"], () => {
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(process.env.VK_ICD_FILENAMES).toBe("mine.json");
  });
});
