/** Looks up the import records of a model's operators. */
import { UnsupportedError } from "../../../compiler/index.ts";
import { shownName } from "./file-names.ts";
import type { GraphMessage, ModelMessage, NodeMessage } from "./messages.ts";
import { ownRecords, records } from "./ops/index.ts";
import type { ImportRecord } from "./record.ts";

/** The supported opsets. */
export const importedOpsets = { oldest: 7, newest: 28 } as const;

/** A domain; that of ONNX has two names. */
export const domainOf = (name: string): string => (name === "ai.onnx" ? "" : name);

/** The opsets that a model or a function imports, by domain. Throws UnsupportedError for an ONNX opset out of range. */
export function opsetsOf(
  imports: ModelMessage["opsetImport"],
  who: () => string = () => "the model",
): ReadonlyMap<string, number> {
  const opsets = new Map(imports.map((o) => [domainOf(o.domain), o.version]));
  const opset = opsets.get("") ?? importedOpsets.newest;
  if (opset >= importedOpsets.oldest && opset <= importedOpsets.newest) return opsets;
  throw new UnsupportedError(
    `${who()} has opset ${opset}; supported are ${importedOpsets.oldest} to ${importedOpsets.newest}`,
  );
}

/** The opset of a domain; of one that the model does not import, the newest. */
export const opsetIn = (opsets: ReadonlyMap<string, number>, domain: string): number =>
  opsets.get(domainOf(domain)) ?? importedOpsets.newest;

/** The dimension names that the first reader of an input suggests. */
export const rolesOf = (graph: GraphMessage, input: string): readonly string[] => {
  const reader = graph.node.find((node) => node.input[0] === input);
  return (reader && recordOf(reader)?.roles) ?? [];
};

/** An operator's key in the table: its type, prefixed by its domain unless that is ONNX's own. */
export const operatorOf = ({ domain, opType }: NodeMessage): string =>
  domainOf(domain) === "" ? opType : `${domain}.${opType}`;

export const recordOf = (node: NodeMessage): ImportRecord | undefined => {
  const name = operatorOf(node);
  const found = [records, ownRecords].find((table) => Object.hasOwn(table, name));
  return found?.[name];
};

export const nodeName = (node: NodeMessage, at: number): string =>
  shownName(node.name || node.output.find((o) => o !== "") || `number ${at}`);
