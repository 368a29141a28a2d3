/** Adapters whose kernels can be shown without having one. */
import { type AdapterFacts, didYouMean, kernelIr, UsageError } from "../compiler/index.ts";
import { type MeasuredAdapter, measuredAdapters } from "./measured-adapters.ts";
import { typicalFacts } from "./typical-gpu.ts";

export interface NamedAdapter {
  /** Completes a sentence: "for a GPU with ...". */
  readonly what: string;
  readonly facts: AdapterFacts;
  /** Its peak rates, if its class was measured. */
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

/** The default adapter to show kernels for. */
export const anyGpu = "typical";

export const adapterNames = Object.keys(adapters);

/** The adapter of a name. Throws UsageError for an unknown one. */
export function adapterNamed(name: string): NamedAdapter {
  if (Object.hasOwn(adapters, name)) return adapters[name]!;
  const near = didYouMean(name, adapterNames) || ".";
  throw new UsageError(`unknown adapter "${name}"${near} Known adapters: ${adapterNames.join(", ")}.`);
}
