/** Machines on which WebGPU cannot be had: --device auto takes the processor, and heddle devices says why. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { requestDevice } from "../../backends/webgpu/node-index.ts";
import { openDevice } from "../../cli/index.ts";
import { FileError, UnsupportedError } from "../../compiler/index.ts";
import { heddle } from "./support.ts";

const broken = vi.hoisted(() => ({ cache: false, packageGone: false }));

// Factories that return at once: Node's own loader, which runs these tests, takes no promise of a module.
vi.mock("../../backends/webgpu/runtime/node-swiftshader.ts", () => ({
  swiftShaderMissing: () => undefined,
  unpackSwiftShader: async () => {
    if (broken.cache) throw new FileError("no folder to unpack SwiftShader into\n  /cache: permission denied");
    return { loader: "/none/libvulkan.so.1", manifest: "/none/icd.json" };
  },
}));
vi.mock("../../backends/webgpu/runtime/node-vulkan.ts", () => ({
  loadSystemLoader: async () => true,
  loadGlobally: async () => false,
  installedDrivers: () => (broken.packageGone ? ["/some/driver.json"] : []),
  withDrivers: (_: readonly string[], call: () => unknown) => call(),
}));
vi.mock("../../backends/webgpu/runtime/node-instance.ts", () => ({
  systemBackend: () => "vulkan",
  createInstance: async () => {
    throw new UnsupportedError(
      "Dawn does not load on this machine: no such package\n  hint: use the device cpu elsewhere (--device cpu)",
    );
  },
}));

beforeEach(() => vi.stubEnv("HEDDLE_ADAPTER", undefined));
afterEach(() => {
  Object.assign(broken, { cache: false, packageGone: false });
  vi.unstubAllEnvs();
});

it("without a cache folder that can be written, auto takes the processor, and webgpu says why not", async () => {
  broken.cache = true;
  const { backend } = await openDevice("auto");
  expect(backend.device.backend).toBe("cpu");
  backend.dispose();
  const asked = requestDevice({ prefer: "software" });
  await expect(asked).rejects.toThrow(UnsupportedError);
  await expect(asked).rejects.toThrow(/swiftshader: no folder to unpack SwiftShader into; \/cache: permission denied/);
  const { status, out } = await heddle("devices");
  expect([status, out]).toEqual([0, expect.stringContaining("--device auto chooses cpu")]);
});

it("without the webgpu package auto takes the processor, and devices says why", async () => {
  broken.packageGone = true;
  const { backend } = await openDevice("auto");
  expect(backend.device.backend).toBe("cpu");
  backend.dispose();
  const { status, out } = await heddle("devices");
  expect([status, out]).toEqual([0, expect.stringContaining("not available: Dawn does not load on this machine")]);
  expect(out).toContain("--device auto chooses cpu");
  const { out: figures } = await heddle("devices", "--json");
  expect(JSON.parse(figures)).toEqual({
    auto: "cpu",
    adapters: [],
    missing: expect.stringContaining("no such package"),
  });
});
