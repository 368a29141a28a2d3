/** The figures of `heddle inspect` as text. */
import { memoryRows } from "../../memory-report.ts";
import { bytes, digits, short, table } from "../../output.ts";
import { precisionText } from "../../precision.ts";
import { operationRows, printSettings } from "../../stage-figures.ts";
import type { Inspection } from "./figures.ts";

export function describe(r: Inspection): string {
  const sizes = Object.entries(r.sizes)
    .map(([k, v]) => `${k} = ${v}`)
    .join(", ");
  const kinds = Object.entries(r.kernels.byKind)
    .map(([k, v]) => `${v} ${k.replace("_", " ")}`)
    .join(", ");
  const ops = Object.entries(r.graph.ops)
    .slice(0, 8)
    .map(([k, v]) => `${v} ${k}`)
    .join(", ");
  const groups = Object.entries(r.parametersByGroup).map(([k, v]) => [`  ${k}`, digits(v)] as const);
  return `${table([
    ["model", r.settingsInWords === undefined ? r.model : `${r.model}: ${r.settingsInWords}`],
    ["parameters", `${digits(r.parameters)} in ${digits(r.tensors)} tensors`],
    ...(groups.length > 1 ? groups : []),
    ...(r.buffers === undefined ? [] : [["buffers", `${digits(r.buffers)}, not trained`] as const]),
    ...(r.trainable
      ? [
          [
            "trainable",
            `${digits(r.trainable.parameters)} in ${r.trainable.tensors} tensors (stage ${r.trainable.stage})`,
          ] as const,
        ]
      : []),
    ...(r.settings ? [["trained with", printSettings(r.settings)] as const] : []),
    ["sizes", sizes === "" ? "all fixed" : sizes],
    ["multiply-accumulates", `${digits(r.macs.exact)} (${short(r.macs.exact)})`],
    ...(r.macs.paper === null ? [] : [["  as the paper counts", digits(r.macs.paper)] as const]),
    ...(r.operations ? operationRows(r.operations) : []),
    ["graph", `${digits(r.graph.nodes)} nodes: ${ops} ...`],
    ["kernels", `${r.kernels.count}: ${kinds}`],
    ...(r.precision ? [["computed in", precisionText(r.precision)] as const] : []),
    ...(r.memoryByKind
      ? memoryRows(r.memoryByKind)
      : ([
          ["memory, parameters", bytes(r.memory.parameters)],
          ["memory, activations", bytes(r.memory.activations)],
        ] as const)),
    ["memory traffic", `${bytes(r.traffic.read)} read, ${bytes(r.traffic.written)} written per run`],
    ["compiled in", `${r.compileMs} ms`],
    ...(r.following ?? []).map((name) => [`--stage ${name}`, "a stage that follows this one"] as const),
    ...Object.entries(r.graphs ?? {}).map(([name, what]) => [`--graph ${name}`, what] as const),
  ])}\n`;
}
