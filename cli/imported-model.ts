/** ONNX files as models of commands: their graph, and their own weights. */
import { extname } from "node:path";
import type { ImportedParameter, OnnxImport } from "../backends/onnx/index.ts";
import { UsageError } from "../compiler/index.ts";
import { asFloat, escapeControls, permute } from "../runtime/index.ts";
import type { ParameterSource } from "./parameters.ts";

/** Whether a source has an ONNX file's name. */
export const isOnnx = (source: string): boolean => extname(source).toLowerCase() === ".onnx";

/** The graph of an ONNX file; `--set name=number` binds a dynamic size. Generated names are reported on stderr. */
export async function readOnnxModel(
  source: string,
  set: readonly string[],
  outputs?: readonly string[],
): Promise<OnnxImport> {
  const { openOnnx } = await import("../backends/onnx/node-index.ts");
  const sizes = Object.fromEntries(set.map(sizeSetting));
  const made = await openOnnx(source, { sizes, ...(outputs && { outputs }) });
  for (const note of made.notes) process.stderr.write(`${escapeControls(`${source}: ${note}`)}\n`);
  return made;
}

/** "height=640", or what a dynamic size equals: "past=sequence", "height=32*rows". */
function sizeSetting(setting: string): readonly [name: string, size: number | string] {
  const [, name, size] = /^([A-Za-z_]\w*)=([\w*+]+)$/.exec(setting) ?? [];
  if (name === undefined || size === undefined)
    throw new UsageError(
      `"${setting}" is not a size: expected name=number, as in height=640, or name=size, as in height=32*rows`,
    );
  return [name, /^\d+$/.test(size) ? Number(size) : size];
}

/** The weights stored in an ONNX file. */
export function importedWeights(source: string, own: ReadonlyMap<string, ImportedParameter>): ParameterSource {
  const read = async (name: string) => await own.get(name)!.read();
  return {
    origin: source,
    report: "",
    read: async (name, dtype = "f32") => asFloat(name, await read(name), dtype),
    dtypeOf: () => "F32",
    async *pieces(name, order, dtype) {
      const { data } = permute(await read(name), order);
      yield dtype === "F16" ? new Float16Array(data) : data;
    },
    dispose: async () => {},
  };
}
