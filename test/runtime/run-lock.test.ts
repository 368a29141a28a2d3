/** A run's folder is locked for the threads of a process as for others. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Worker } from "node:worker_threads";
import { afterAll, expect, it } from "vitest";
import { lockRunFolder } from "../../runtime/host/node-run-lock.ts";

const root = mkdtempSync(join(tmpdir(), "heddle-run-lock-"));
afterAll(() => rmSync(root, { recursive: true }));

const module = new URL("../../runtime/host/node-run-lock.ts", import.meta.url).href;
const holding = `
  const { parentPort, workerData } = require("node:worker_threads");
  import(workerData.module)
    .then(({ lockRunFolder }) => lockRunFolder(workerData.root))
    .then(() => parentPort.postMessage("held"), (error) => parentPort.postMessage(error.message));
  setInterval(() => {}, 1000);
`;

const another = async (): Promise<[Worker, string]> => {
  const worker = new Worker(holding, { eval: true, workerData: { module, root } });
  return [worker, await new Promise((resolve) => worker.once("message", resolve))];
};

it("by one thread at a time, until it ends or gives it back", async () => {
  const [first, says] = await another();
  expect(says).toBe("held");
  await expect(lockRunFolder(root)).rejects.toThrow(`${root} is in use by this process`);
  await first.terminate();
  const lock = await lockRunFolder(root);
  const [second, refused] = await another();
  expect(refused).toBe(`${root} is in use by this process`);
  await second.terminate();
  await lock.dispose();
  await (await lockRunFolder(root)).dispose();
});
