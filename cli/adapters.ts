/** The adapters that kernels can be shown for without one at hand. */
import { type AdapterFacts, didYouMean, kernelIr, UsageError } from "../compiler/index.ts";
import { type MeasuredAdapter, measuredAdapters } from "./measured-adapters.ts";
import { typicalFacts } from "./typical-gpu.ts";

export interface NamedAdapter {
  /** As a sentence ends: "for a GPU with ...". */
  readonly what: string;
  readonly facts: AdapterFacts;
  /** What it can do at most, where its class was measured. */
  readonly measured?: MeasuredAdapter;
}

const adapters: Readonly<Record<string, NamedAdapter>> = {
  typical: { what: "a GPU with what WebGPU guarantees", facts: typicalFacts },
  software: { what: "an adapter that runs on CPU threads", facts: { ...typicalFacts, software: true } },
  ...Object.fromEntries(
    Object.entries(kernelIr.recordedAdapters).map(([name, { facts, basis }]) => [
      name,
      {
        what: `${name} (${basis} facts)`,
        facts: { ...typicalFacts, ...facts },
        ...(measuredAdapters[name] && { measured: measuredAdapters[name] }),
      },
    ]),
  ),
};

/** Whom kernels are shown for where nobody is named. */
export const anyGpu = "typical";

export const adapterNames = Object.keys(adapters);

/** Throws UsageError for an adapter that is not on record. */
export function adapterNamed(name: string): NamedAdapter {
  if (Object.hasOwn(adapters, name)) return adapters[name]!;
  const near = didYouMean(name, adapterNames) || ".";
  throw new UsageError(`no adapter "${name}" is on record${near} There are ${adapterNames.join(", ")}.`);
}
