/** Looks up the import records of a model's operators. */
import { UnsupportedError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { GraphMessage, ModelMessage, NodeMessage } from "./messages.ts";
import { ownRecords, records } from "./ops/index.ts";
import type { ImportRecord } from "./record.ts";

/** The supported opsets. */
export const importedOpsets = { oldest: 7, newest: 28 } as const;

export function opsetsOf(model: ModelMessage): ReadonlyMap<string, number> {
  // A function may import a domain that the model's own nodes do not use.
  const imports = [...model.functions.flatMap((f) => f.opsetImport), ...model.opsetImport];
  const opsets = new Map(imports.map((o) => [o.domain === "ai.onnx" ? "" : o.domain, o.version]));
  const opset = opsets.get("") ?? importedOpsets.newest;
  if (opset >= importedOpsets.oldest && opset <= importedOpsets.newest) return opsets;
  throw new UnsupportedError(
    `the model has opset ${opset}; supported are ${importedOpsets.oldest} to ${importedOpsets.newest}`,
  );
}

/** The opset of a domain; of one that the model does not import, the newest. */
export const opsetIn = (opsets: ReadonlyMap<string, number>, domain: string): number =>
  opsets.get(domain === "ai.onnx" ? "" : domain) ?? importedOpsets.newest;

/** The dimension names that the first reader of an input suggests. */
export const rolesOf = (graph: GraphMessage, input: string): readonly string[] => {
  const reader = graph.node.find((node) => node.input[0] === input);
  return (reader && recordOf(reader)?.roles) ?? [];
};

/** An operator's key in the table: its type, prefixed by its domain unless that is ONNX's own. */
export const operatorOf = ({ domain, opType }: NodeMessage): string =>
  domain === "" || domain === "ai.onnx" ? opType : `${domain}.${opType}`;

export const recordOf = (node: NodeMessage): ImportRecord | undefined => {
  const name = operatorOf(node);
  const found = [records, ownRecords].find((table) => Object.hasOwn(table, name));
  return found?.[name];
};

export const nodeName = (node: NodeMessage, at: number): string =>
  shownName(node.name || node.output.find((o) => o !== "") || `number ${at}`);
