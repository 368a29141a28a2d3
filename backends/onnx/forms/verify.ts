/** Invariants of every ONNX model: names are defined once and before use, types are known. */
import { InternalError } from "../../../compiler/index.ts";
import { wireCodes } from "../wire/elements.ts";
import type { ModelProto } from "../wire/proto.ts";

const codes = new Set<number>(Object.values(wireCodes));

/** Throws InternalError naming the stage and the first fault; `placeholders` are names that a later stage defines. */
export function verifyModel(model: ModelProto, stage: string, placeholders: Iterable<string> = []): void {
  const [input, output] = [model.graph?.input ?? [], model.graph?.output ?? []];
  const fail = (message: string): never => {
    throw new InternalError(`after stage "${stage}": ${message}`);
  };
  const known = new Set<string>(placeholders);
  const define = (name: string | null | undefined, what: string) => {
    if (!name) return fail(`${what} has no name`);
    if (known.has(name)) fail(`two values are named "${name}"`);
    known.add(name);
  };
  for (const v of [...input, ...output]) {
    if (!codes.has(Number(v.type?.tensorType?.elemType))) fail(`the type of "${v.name}" is unknown`);
  }
  for (const v of input) define(v.name, "an input");
  for (const t of model.graph?.initializer ?? []) {
    define(t.name, "an initializer");
    if (!codes.has(Number(t.dataType))) fail(`the type of "${t.name}" is unknown`);
  }
  const domains = new Set((model.opsetImport ?? []).map((o) => o.domain ?? ""));
  for (const n of model.graph?.node ?? []) {
    const at = `node "${n.name}" (${n.opType})`;
    if (!domains.has(n.domain ?? "")) fail(`${at} is of domain "${n.domain}", which the model does not import`);
    const unknown = n.input!.find((i) => i !== "" && !known.has(i));
    if (unknown !== undefined) fail(`${at} reads "${unknown}", which is not defined before it`);
    for (const name of n.output!) define(name, at);
  }
  const names = output.map((v) => v.name!);
  for (const name of names) if (!known.has(name)) fail(`nothing makes the output "${name}"`);
  if (new Set(names).size < names.length)
    fail(`two outputs are the value "${names.find((n, i) => names.indexOf(n) < i)}"`);
}
