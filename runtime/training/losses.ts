/** Reads the loss curve back from a run's metrics, so that a resumed run reports the whole of it. */
import { readFile } from "node:fs/promises";
import { explainingFaults } from "../file-errors.ts";

export interface LossPoint {
  readonly step: number;
  readonly loss: number;
}

export async function readLosses(path: string): Promise<LossPoint[]> {
  const text = await explainingFaults("read", path, () => readFile(path, "utf8"));
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as LossPoint)
    .map(({ step, loss }) => ({ step, loss }));
}
