/** Takes a device: a hardware GPU where there is one, else the processor; software GPUs only when asked for. */
import type { Backend } from "../backends/backend.ts";
import { UsageError } from "../compiler/index.ts";

export const deviceChoices = ["auto", "webgpu", "cpu"] as const;
export type DeviceChoice = (typeof deviceChoices)[number];

export interface ChosenDevice {
  readonly backend: Backend;
  /** One sentence for people: what was taken and why. */
  readonly reason: string;
}

export function parseDevice(text: string): DeviceChoice {
  const choice = deviceChoices.find((c) => c === text);
  if (!choice) throw new UsageError(`--device is one of ${deviceChoices.join(", ")}, not "${text}"`);
  return choice;
}
