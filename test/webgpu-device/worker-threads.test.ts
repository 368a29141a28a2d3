/** Devices in worker threads of Node: with the process's environment, and the error without it. */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { gpuTest } from "../support/adapter.ts";

const adapter = new URL("../../backends/webgpu/runtime/adapter.ts", import.meta.url).href;
const script = (options: string) => `
  const { Worker, SHARE_ENV } = require("node:worker_threads");
  const inside = \`
    const { parentPort } = require("node:worker_threads");
    import("${adapter}")
      .then((m) => m.requestDevice({ prefer: "software", source: "swiftshader" }))
      .then((gpu) => (parentPort.postMessage("opened"), gpu.dispose()), (e) => parentPort.postMessage(e.message));
  \`;
  new Worker(inside, { eval: true, ...${options} }).on("message", console.log);
`;
const said = async (options: string) => {
  const { stdout, stderr } = await promisify(execFile)(process.execPath, ["-e", script(options)]);
  return { stdout: stdout.trim(), stderr };
};

it("without a driver the error says what a thread needs", async () => {
  expect((await said("{ env: {} }")).stdout).toMatch(/hint: .*; in a worker thread, .* \{ env: SHARE_ENV \}\)$/);
});

gpuTest("with the process's environment a software adapter opens", async ({ gpu }) => {
  if (!/swiftshader/i.test(gpu.adapter.description)) return;
  expect(await said("{ env: SHARE_ENV, trackUnmanagedFds: false }")).toEqual({ stdout: "opened", stderr: "" });
});
