/** Weights in published layouts: what is written in one reads back as the same parameters. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { type HostTensor, hostTensor, inputName, makeGraph, type SizedAxis, zeros } from "../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  axis,
  checkpointLayout,
  knownPlaces,
  normal,
  type Params,
  rootParams,
  same,
  trace,
} from "../../dsl/index.ts";
import { contrastiveRules, internvlC } from "../../models/index.ts";
import {
  inheritWeights,
  initialValue,
  openWeights,
  ownLayoutMark,
  permute,
  tensorsInLayout,
  tensorToWrite,
  writeSafetensors,
} from "../../runtime/index.ts";
import { asFloat } from "../../runtime/weights.ts";
import { tinyConfig } from "../support/tiny-job.ts";
import { memoryWeights, readAllWeights } from "../support/weights.ts";

const folder = mkdtempSync(join(tmpdir(), "heddle-weights-"));
afterAll(() => rmSync(folder, { recursive: true }));

const graph = trace(internvlC, tinyConfig);
const published = checkpointLayout(graph, contrastiveRules);
const weights = new Map(
  graph.inputs.filter((n) => n.op === "parameter").map((n) => [inputName(n), initialValue(n, 5)]),
);

it("reads the published layout back as the same parameters", async () => {
  const file = join(folder, "published.safetensors");
  await writeSafetensors(file, tensorsInLayout(published, memoryWeights(weights)));
  const back = await readAllWeights(file, graph, [published]);
  expect(back).toEqual(weights);
});

it("reads heddle's own names without a layout", async () => {
  const file = join(folder, "own.safetensors");
  await writeSafetensors(
    file,
    [...weights].map(([name, tensor]) => tensorToWrite(name, tensor)),
  );
  expect(await readAllWeights(file, graph)).toEqual(weights);
});

it("names every tensor that is missing or of another shape, at once", async () => {
  const file = join(folder, "faulty.safetensors");
  const faulty = [...weights]
    .filter(([name]) => name !== "logit_scale")
    .map(([name, tensor]) => {
      const axes: SizedAxis[] = [{ name: "d", size: tensor.data.length }];
      const flat: HostTensor =
        name === "clip_projector.norm1_q.weight" ? { ...tensor, axes: [...axes, { name: "e", size: 1 }] } : tensor;
      return tensorToWrite(name, flat);
    });
  await writeSafetensors(file, faulty);
  await expect(openWeights(file, graph)).rejects.toThrow(/logit_scale[\s\S]*clip_projector\.norm1_q\.weight/);
});

it("compares with the layout that more of the file is in", async () => {
  const file = join(folder, "own-but-one.safetensors");
  const all = [...weights].map(([name, tensor]) => tensorToWrite(name, tensor));
  await writeSafetensors(file, all.slice(1));
  const opening = openWeights(file, graph, [published]);
  await expect(opening).rejects.toThrow(
    `${weights.size - 1} tensors match, 1 missing, 0 with another shape, 0 unexpected`,
  );
});

describe("a kernel whose shape is the same in both layouts", () => {
  const to = axis("to", 2);
  const [row, column, channel] = [axis("kernel_row", 3), axis("kernel_column", 3), axis("channel", 3)];
  const parameter = rootParams().scope("stem").parameter("weight", [to, row, column, channel], normal(1));
  const kernel = makeGraph("kernel", [{ name: "out", node: parameter }]);
  const lying = checkpointLayout(kernel, [same("stem.weight", "to channel kernel_row kernel_column")]);
  const value = new Map([["stem.weight", initialValue(parameter, 3)]]);
  const family = { places: () => [lying] };
  const inherited = async (file: string) => {
    const { initial, dispose } = await inheritWeights([parameter], [file], family);
    const tensor = await initial("stem.weight");
    await dispose();
    return tensor;
  };

  it.each([
    ["published", tensorsInLayout(lying, memoryWeights(value)), {}],
    ["own", [...value].map(([name, tensor]) => tensorToWrite(name, tensor)), ownLayoutMark],
  ])("is read as %s, which the file's mark decides", async (name, tensors, metadata) => {
    const file = join(folder, `kernel-${name}.safetensors`);
    await writeSafetensors(file, tensors, { metadata });
    expect(await readAllWeights(file, kernel, [lying])).toEqual(value);
    expect(await inherited(file)).toEqual(value.get("stem.weight"));
  });
});

it("names every tensor that holds no floats, before any is read", async () => {
  const file = join(folder, "integers.safetensors");
  const integers = (n: number) => ({ dtype: "I64" as const, data: () => [new Uint8Array(8 * n)] });
  const all = [...weights].map(([name, tensor]) => {
    const written = tensorToWrite(name, tensor);
    return /norm[12]\.weight$/.test(name) ? { ...written, ...integers(tensor.data.length) } : written;
  });
  await writeSafetensors(file, all);
  await expect(openWeights(file, graph)).rejects.toThrow(
    /weights must be floats, but these tensors are not:\n {4}"vision_model\.encoder\.layers\.0\.norm1\.weight" I64 \[.*\n {4}"vision_model\.encoder\.layers\.0\.norm2.*\n {2}hint: store/,
  );
});

it.each([Number.NaN, Number.POSITIVE_INFINITY])("reads no weight that is %s", async (value) => {
  const file = join(folder, `${value}.safetensors`);
  const broken = new Map(weights);
  const [name, tensor] = [...weights].find(([, { data }]) => data.length > 9)!;
  broken.set(name, { ...tensor, data: Float32Array.from(tensor.data, (v, i) => (i === 9 ? value : v)) });
  await writeSafetensors(
    file,
    [...broken].map(([n, t]) => tensorToWrite(n, t)),
  );
  await expect(readAllWeights(file, graph)).rejects.toThrow(
    `"${name}": element 9 is ${value}, but weights must be finite`,
  );
});

it("permutes any order of axes", () => {
  const axes = [
    { name: "a", size: 2 },
    { name: "b", size: 3 },
    { name: "c", size: 4 },
  ];
  const data = Float32Array.from({ length: 24 }, (_, i) => i);
  const turned = permute({ dtype: "f32", axes, data }, ["c", "a", "b"]);
  expect(turned.data[1 * 6 + 1 * 3 + 2]).toBe(1 * 12 + 2 * 4 + 1);
  expect(permute(turned, ["a", "b", "c"]).data).toEqual(data);
});

it("gives f16 where it is asked for, and refuses what f16 cannot hold", async () => {
  const axes = [{ name: "a", size: 2 }];
  const kept = hostTensor("f32", axes, [1.5, 70000]);
  expect(() => asFloat("w", kept, "f16")).toThrow(/"w": element 1 is 70000, which f16 cannot hold\n {2}hint: keep/);
  expect(asFloat("w", kept, "f32").data).toEqual(Float32Array.of(1.5, 70000));
  const file = join(folder, "halves.safetensors");
  await writeSafetensors(
    file,
    [...weights].map(([name, tensor]) => tensorToWrite(name, tensor)),
  );
  const [name] = weights.keys();
  const reader = await openWeights(file, graph);
  const half = await reader.read(name!, "f16");
  await reader.dispose();
  expect([half.dtype, half.data]).toEqual(["f16", new Float16Array(weights.get(name!)!.data)]);
});

it("reads and writes parts of a dimension that lie one after the other, such as a group's queries, key and value", async () => {
  const [heads, group, dim, embed] = [axis("heads", 2), axis("group", 3), axis("head_dim", 2), axis("embed", 5)];
  const build = (p: Params) => {
    const of = (name: string, axes: readonly Axis[]): AnyTensor => p.scope(name).parameter("weight", axes, zeros);
    const [q, k, v] = [of("q", [heads, group, dim, embed]), of("k", [heads, dim, embed]), of("v", [heads, dim, embed])];
    return { q, k, v };
  };
  const rule = (x: string, at: number) => ({
    path: `${x}.weight`,
    name: "wqkv.weight",
    axes: `heads*${at}/group+1+1*head_dim embed`,
  });
  const rules = ["q", "k", "v"].map(rule);
  const named = Object.entries(build(rootParams())).map(([name, node]) => ({ name, node }));
  const joined = makeGraph("joined", named);
  const layout = checkpointLayout(joined, rules);
  expect(layout.map((p) => p.shape)).toEqual(rules.map(() => [2 * (3 + 2) * 2, 5]));
  const numbers = Float32Array.from({ length: 100 }, (_, i) => i);
  const file = join(folder, "joined.safetensors");
  await writeSafetensors(file, [
    tensorToWrite("wqkv.weight", hostTensor("f32", [{ name: "row", size: 20 } as const, embed as SizedAxis], numbers)),
  ]);
  const read = await readAllWeights(file, joined, [layout]);
  /** Rows of the tensor [heads, slot, head_dim] of some slots. */
  const slots = (from: number, to: number) =>
    [0, 1].flatMap((h) => [...numbers.subarray((h * 5 + from) * 10, (h * 5 + to) * 10)]);
  expect([...read.get("q.weight")!.data]).toEqual(slots(0, 3));
  expect([...read.get("k.weight")!.data]).toEqual(slots(3, 4));
  expect([...read.get("v.weight")!.data]).toEqual(slots(4, 5));
  const [back] = tensorsInLayout(layout, memoryWeights(read));
  const again = join(folder, "joined-again.safetensors");
  await writeSafetensors(again, [back!]);
  expect(await readAllWeights(again, joined, [layout])).toEqual(read);

  // A part is known by what lies beside it, and a rule is taken for its axes.
  const alone = makeGraph("alone", named.slice(1));
  expect(() => checkpointLayout(alone, rules)).toThrow(/no parameter in "wqkv.weight" has an axis "group"/);
  expect(knownPlaces(alone.inputs, rules)).toEqual([]);
  const other = { ...rule("q", 0), axes: "heads*head_dim embed" };
  expect(checkpointLayout(joined, [other, ...rules])).toEqual(layout);
  expect(() => checkpointLayout(joined, [rule("q", 0), rule("k", 3), rule("v", 2)])).toThrow(/entries count from 0/);
});
