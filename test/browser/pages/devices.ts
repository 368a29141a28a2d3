/** What becomes of devices in a page: lost, opened again, and given by the page's own code. */
import { type WebgpuBackend, webgpuBackend } from "../../../backends/webgpu/index.ts";
import { requestBrowserDevice } from "../../../backends/webgpu/runtime/browser-device.ts";
import { adoptDevice } from "../../../backends/webgpu/runtime/device.ts";
import { waitPlainly } from "../../../backends/webgpu/runtime/wait.ts";
import { infer } from "../inference.ts";

let backend: WebgpuBackend | undefined;

export async function open(): Promise<void> {
  backend = webgpuBackend(await requestBrowserDevice());
}

export const logits = (): Promise<number[]> => infer(backend!);

/** Waits until the browser says that the device is lost. */
export async function lost(): Promise<string> {
  return (await backend!.gpu.device.lost).reason;
}

/** The error of one more run. */
export async function failure(): Promise<string> {
  return await infer(backend!).then(
    () => "none",
    (error: Error) => `${error.name}: ${error.message}`,
  );
}

export function dispose(): void {
  backend!.dispose();
}

/**
 * Runs on a device that this page opened with nothing but the default limits, and says whether it is still open after.
 */
export async function givenDevice(): Promise<{ logits: number[]; open: boolean; held: number; matches: boolean }> {
  const adapter = await navigator.gpu.requestAdapter();
  const device = await adapter!.requestDevice();
  const source = { backend: "browser", reason: "the page gave it", wait: waitPlainly } as const;
  const own = webgpuBackend(await adoptDevice(device, source));
  const first = await infer(own);
  own.dispose();
  const held = [...own.gpu.memory.heldBytes()].reduce((n, [, bytes]) => n + bytes, 0);
  const again = webgpuBackend(await adoptDevice(device, source));
  const second = await infer(again);
  again.dispose();
  const ended = await Promise.race([
    device.lost.then(() => true),
    new Promise((go) => setTimeout(() => go(false), 50)),
  ]);
  return { logits: first, open: !ended, held, matches: first.every((x, i) => x === second[i]) };
}

/** Runs three times here and in a worker at the same time. */
export async function besideWorker(): Promise<number[][]> {
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const there = new Promise<number[][]>((resolve, reject) => {
    worker.onmessage = ({ data }) => resolve(data);
    worker.onerror = ({ message }) => reject(new Error(message));
  });
  const here: number[][] = [];
  for (let i = 0; i < 3; i++) here.push(await infer(backend!));
  const all = [...here, ...(await there)];
  worker.terminate();
  return all;
}
