/** Files as users have them: names of axes, what is missing, what lies beside, integers, and training. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { encodeOnnx, exportOnnx, importOnnx } from "../../../backends/onnx/index.ts";
import { openOnnx, writeOnnx } from "../../../backends/onnx/node-index.ts";
import { decodeModel, encodeModel, type ModelProto } from "../../../backends/onnx/wire/proto.ts";
import { referenceBackend } from "../../../backends/reference/index.ts";
import {
  type HostTensor,
  hostTensor,
  inputName,
  makeGraph,
  normal,
  ops,
  printGraph,
  symbol,
} from "../../../compiler/index.ts";
import {
  type AnyTensor,
  type Axis,
  applyGraph,
  axis,
  constantRate,
  defineStage,
  input,
  mean,
  mul,
  type Params,
  rootParams,
  sub,
  trainingStep,
  typed,
} from "../../../dsl/index.ts";
import { openSafetensors, train } from "../../../runtime/index.ts";
import { heddle, scratch } from "../../cli/support.ts";
import { attribute, file, floats, info, type NodeSpec, whole } from "./small-file.ts";

const folder = scratch("onnx-import");
afterAll(() => folder.remove());

/** Attention of two heads as exporters write it: shapes are computed from that of the input. */
const attention = file(
  { x: ["batch", "token", 8], mask: ["batch", "token"] },
  [
    floats("layer.q", [8, 8]),
    floats("layer.k", [8, 8]),
    whole("zero", [0]),
    whole("one", [1]),
    whole("heads", [2, 4]),
    whole("after", [1, 2]),
  ],
  [
    ["Shape", ["x"], "shape"],
    ["Gather", ["shape", "zero"], "rows"],
    ["Gather", ["shape", "one"], "tokens"],
    ["Concat", ["rows", "tokens", "heads"], "split", { axis: 0 }],
    ["MatMul", ["x", "layer.q"], "q0"],
    ["Reshape", ["q0", "split"], "q1"],
    ["Transpose", ["q1"], "q", { perm: [0, 2, 1, 3] }],
    ["MatMul", ["x", "layer.k"], "k0"],
    ["Reshape", ["k0", "split"], "k1"],
    ["Transpose", ["k1"], "k", { perm: [0, 2, 3, 1] }],
    ["MatMul", ["q", "k"], "logits"],
    ["Unsqueeze", ["mask", "after"], "wide"],
    ["Add", ["logits", "wide"], "masked"],
    ["Softmax", ["masked"], "weights", { axis: -1 }],
  ],
  { weights: ["batch", 2, "token", "token"] },
);

describe("an imported graph", () => {
  it("has axes with names, the second role of an axis under another one, and shapes that are sizes", async () => {
    const { graph, notes } = await importOnnx(attention);
    expect(printGraph(graph)).toMatchInlineSnapshot(`
      "graph @small(%x: f32[batch=batch, token=token, x_dim2=8], %mask: f32[batch=batch, token=token]) {
        %layer.q = parameter "layer.q" init normal(mean=0, std=0.02) : f32[x_dim2=8, x_dim2_2=8]
        %0 = contract %x, %layer.q over [x_dim2]                     : f32[batch=batch, token=token, x_dim2_2=8]
        %1 = split %0 axis x_dim2_2 into [x_dim2_of_0=2, x_dim2_of_1=4] : f32[batch=batch, token=token, x_dim2_of_0=2, x_dim2_of_1=4]
        %layer.k = parameter "layer.k" init normal(mean=0, std=0.02) : f32[x_dim2=8, x_dim2_2=8]
        %2 = contract %x, %layer.k over [x_dim2]                     : f32[batch=batch, token=token, x_dim2_2=8]
        %3 = split %2 axis x_dim2_2 into [x_dim2_of_0=2, x_dim2_of_1=4] : f32[batch=batch, token=token, x_dim2_of_0=2, x_dim2_of_1=4]
        %4 = rename %3 axis token to token_2                         : f32[batch=batch, token_2=token, x_dim2_of_0=2, x_dim2_of_1=4]
        %5 = contract %1, %4 over [x_dim2_of_1]                      : f32[batch=batch, token=token, x_dim2_of_0=2, token_2=token]
        %6 = rename %mask axis token to token_2                      : f32[batch=batch, token_2=token]
        %7 = add %5, %6                                              : f32[batch=batch, token=token, x_dim2_of_0=2, token_2=token]
        %8 = softmax %7 axis token_2                                 : f32[batch=batch, token=token, x_dim2_of_0=2, token_2=token]
        %9 = transpose %8 order [batch, x_dim2_of_0, token, token_2] : f32[batch=batch, x_dim2_of_0=2, token=token, token_2=token]
        return %9 as weights
      }
      "
    `);
    expect(notes).toEqual(['the file has no names for the axes x_dim2 of the input "x"']);
  });

  it("names every operator that is not there, with the nodes that have it, all at once", async () => {
    const bytes = file(
      { x: [2, 3] },
      [],
      [
        ["NonZero", ["x"], "a"],
        ["Abs", ["x"], "b"],
        ["NonZero", ["b"], "c"],
        ["FutureOp", ["a", "c"], "d"],
      ],
      { d: [2] },
    );
    await expect(importOnnx(bytes)).rejects.toThrowErrorMatchingInlineSnapshot(`
      [UnsupportedError: heddle cannot import 2 of the model's operators:
        NonZero: NonZero/a, NonZero/c
        FutureOp: FutureOp/d
        hint: the part before them can be imported: name its last values as outputs (--outputs, or the option outputs)]
    `);
  });

  it("imports the values that a user names, without operators that only the others need", async () => {
    const bytes = file(
      { x: [2, 3], limit: [1] },
      [floats("w", [3, 4])],
      [
        ["MatMul", ["x", "w"], "/head/scores"],
        ["NonMaxSuppression", ["/head/scores", "limit"], "kept"],
        ["NonZero", ["x"], "unused"],
      ],
      { kept: ["n", 3] },
    );
    const { graph } = await importOnnx(bytes, { outputs: ["/head/scores", "x"] });
    expect(graph.inputs.map(inputName)).toEqual(["x", "w"]);
    expect(graph.outputs.map((o) => o.name)).toEqual(["/head/scores", "x"]);
    await expect(importOnnx(bytes)).rejects.toThrow(/1 of the model's operators:\n {2}NonMaxSuppression/);
    await expect(importOnnx(bytes, { outputs: ["/head/score", "x", "x"] })).rejects.toThrowErrorMatchingInlineSnapshot(`
      [UsageError: the file has no value "/head/score"; did you mean "/head/scores"?
      the output "x" is named twice
        hint: any output of a node can be one; the file's own are kept]
    `);
    await expect(importOnnx(bytes, { outputs: [] })).rejects.toThrow("a list of at least one name");
  });

  it("leaves out an assignment to no elements, as a roll by 0 writes it", async () => {
    const bytes = file(
      { x: [2, 3] },
      [whole("begin", [2]), whole("end", [2]), whole("none", [0, 2]), floats("one", [1])],
      [
        ["Slice", ["x", "begin", "end"], "rows"],
        ["Add", ["rows", "one"], "updates"],
        ["Shape", ["updates"], "shape"],
        ["Expand", ["one", "shape"], "ones"],
        ["ConstantOfShape", ["none"], "index"],
        ["Cast", ["index"], "places", { to: 7 }],
        ["ScatterND", ["x", "places", "ones"], "y"],
      ],
      { y: [2, 3] },
    );
    const { graph } = await importOnnx(bytes);
    expect(printGraph(graph)).toMatch(/^ {2}return %x$/m);
  });

  it("says which size must be a number, and takes it as one", async () => {
    const bytes = file(
      { x: [1, 3, "height", 8] },
      [floats("w", [4, 3, 3, 3])],
      [["Conv", ["x", "w"], "y", { strides: [2, 2], pads: [1, 1, 1, 1] }]],
      { y: [1, 4, "h", "w"] },
    );
    await expect(importOnnx(bytes)).rejects.toThrow(
      'node "Conv/y" (Conv): a side of the map is height, which the stride 2 may not divide: set height when importing, as in --size height=640, or --set height=640 for a command that takes the file itself; or leave it open as a multiple that all strides divide, as in height=32*n',
    );
    // A size that is computed is given by those that it is computed from.
    const nodes: NodeSpec[] = [
      ["Concat", ["x", "x"], "xx", { axis: 2 }],
      ["Resize", ["xx", "", "scales"], "y"],
    ];
    const larger = file({ x: [1, 3, "height", 8] }, [floats("scales", [4], [1, 1, 1.5, 2])], nodes, {
      y: [1, 3, "h", 16],
    });
    await expect(importOnnx(larger)).rejects.toThrow(/"Resize\/y" \(Resize\): a side of .*height.*: set height when/);
    const misspelt = importOnnx(bytes, { sizes: { heigth: 10 } });
    await expect(misspelt).rejects.toThrow(
      'the file has no symbolic size "heigth"; did you mean "height"? It has height.',
    );
    const { graph } = await importOnnx(bytes, { sizes: { height: 10 } });
    expect(graph.outputs[0]!.node.type.axes.map((a) => a.size)).toEqual([1, 4, 5, 4]);
  });

  it("leaves a batch open that a resize keeps and a tile repeats", async () => {
    const nodes: NodeSpec[] = [
      ["Shape", ["x"], "shape"],
      ["Slice", ["shape", "zero", "one"], "batch"],
      ["Concat", ["batch", "sides"], "sizes", { axis: 0 }],
      ["Resize", ["x", "", "", "sizes"], "larger"],
      ["Concat", ["batch", "ones"], "repeats", { axis: 0 }],
      ["Tile", ["places", "repeats"], "tiled"],
      ["Add", ["larger", "tiled"], "y"],
    ];
    const constants = [whole("zero", [0]), whole("one", [1]), whole("sides", [1, 4, 2]), whole("ones", [1, 1, 1])];
    const bytes = file({ x: ["n", 1, 2, 2] }, [...constants, floats("places", [1, 1, 4, 2])], nodes, {
      y: ["n", 1, 4, 2],
    });
    const { graph, parameters } = await importOnnx(bytes);
    expect(String(graph.outputs[0]!.node.type.axes[0]!.size)).toBe("n");
    const axes = graph.inputs[0]!.type.axes.map(({ name }, i) => ({ name, size: [3, 1, 2, 2][i]! }));
    const x = hostTensor(
      "f32",
      axes,
      Float32Array.from({ length: 12 }, (_, i) => i),
    );
    const reference = referenceBackend();
    const store = reference.createStore();
    for (const [name, { read }] of parameters) await store.write(name, await read());
    const { y } = await (await reference.compile(graph)).run({ x }, store);
    // Row r of sample b is row floor(r / 2) of x, and place (r, c) adds c / 8 + r / 4 - 0.3.
    const want = Array.from({ length: 24 }, (_, i) => {
      const [b, r, c] = [Math.floor(i / 8), Math.floor((i % 8) / 2), i % 2];
      return b * 4 + Math.floor(r / 2) * 2 + c + c / 8 + r / 4 - 0.3;
    });
    want.forEach((v, i) => {
      expect(y!.data[i]).toBeCloseTo(v, 5);
    });
    // A side resized to the batch's size has no table of positions, whatever the batch is.
    const toBatch = file(
      { x: ["n", 1, 2, 2] },
      [...constants, whole("most", [1, 1, 2])],
      [
        nodes[0]!,
        nodes[1]!,
        ["Concat", ["most", "batch"], "sizes", { axis: 0 }],
        ["Resize", ["x", "", "", "sizes"], "y"],
      ],
      { y: [1, 1, 2, "n"] },
    );
    await expect(importOnnx(toBatch)).rejects.toThrow(/resized.*: set n when importing/);
  });

  it("leaves out an empty part of a concatenation beside open sizes, as Phi-3's rotary embedding has it", async () => {
    const nodes: NodeSpec[] = [
      ["Slice", ["x", "four", "most", "one"], "rest"],
      ["Neg", ["x"], "turned"],
      ["Concat", ["turned", "rest"], "y", { axis: -1 }],
    ];
    const bounds = [whole("four", [4]), whole("most", [2 ** 31]), whole("one", [1])];
    const { graph } = await importOnnx(file({ x: ["batch", 4] }, bounds, nodes, { y: ["batch", 4] }));
    expect(graph.outputs[0]!.node.op).toBe("neg");
    const alone = importOnnx(
      file({ x: ["batch", 4] }, bounds, [nodes[0]!, ["Neg", ["rest"], "y"]], { y: ["batch", 0] }),
    );
    await expect(alone).rejects.toThrow("empty tensors are supported only as lists of sizes and as parts of a concat");
  });

  it("takes two open sizes as one where it is told so", async () => {
    const bytes = file({ a: ["n"], b: ["m"] }, [], [["Add", ["a", "b"], "y"]], { y: ["n"] });
    await expect(importOnnx(bytes)).rejects.toThrow("a dimension is n in one operand and m in another");
    const { graph } = await importOnnx(bytes, { sizes: { m: "n" } });
    const nodes: NodeSpec[] = [
      ["Shape", ["b"], "shape"],
      ["Gather", ["shape", "first"], "rows"],
      ["Concat", ["rows", "rest"], "to", { axis: 0 }],
      ["Reshape", ["a", "to"], "y"],
    ];
    const reshaped = file({ a: ["n", 4], b: ["m", 4] }, [whole("first", [0]), whole("rest", [-1])], nodes, {
      y: ["m", "k"],
    });
    await expect(importOnnx(reshaped)).rejects.toThrow(/are not a multiple of m: .*; use --size m=n if they are equal/);
    await importOnnx(reshaped, { sizes: { m: "n" } });
    expect(String(graph.outputs[0]!.node.type.axes[0]!.size)).toBe("n");
  });
});

/** A layer whose matrix is large enough to be kept as integers. */
function layer() {
  const x = ops.input("x", "f32", [
    { name: "batch", size: symbol("batch") },
    { name: "in", size: 64 },
  ]);
  const axes = [
    { name: "out", size: 64 },
    { name: "in", size: 64 },
  ];
  const weight = ops.parameter("head.weight", "f32", axes, normal(0.02));
  const bias = ops.parameter("head.bias", "f32", [axes[0]!], normal(0.02));
  const y = ops.add(ops.contract(x, weight, ["in"]), bias);
  return makeGraph("layer", [{ name: "y", node: y }], [x]);
}
const weightsOf = (p: { type: { axes: readonly { size: unknown }[] } }) => {
  const axes = (p as never as { type: { axes: { name: string; size: number }[] } }).type.axes;
  const length = axes.reduce((n, a) => n * a.size, 1);
  return hostTensor(
    "f32",
    axes,
    Float32Array.from({ length }, (_, i) => Math.sin(i) / 8),
  );
};

const valuesOf = async (parameters: ReadonlyMap<string, { read: () => Promise<HostTensor> }>) => {
  const values = new Map<string, HostTensor>();
  for (const [name, { read }] of parameters) values.set(name, await read());
  return values;
};

/** The bytes of a file's integers. */
const integersOf = (bytes: Uint8Array) =>
  decodeModel(bytes)
    .graph!.initializer!.filter((t) => [2, 3, 22].includes(t.dataType!))
    .map((t) => Buffer.from(t.rawData!).toString("hex"));

it("takes constants of as many elements as the file says", async () => {
  const bytes = file({ x: [2, 6], s: [2] }, [], [["Add", ["x", "s"], "y"]], { y: [2, 6] });
  await expect(importOnnx(bytes, { constants: { s: [3, 2, 2] } })).rejects.toThrow(
    'the input "s" is [2], but its constant has 3 elements',
  );
  await expect(importOnnx(bytes, { constants: { ss: [3, 2] } })).rejects.toThrow(
    /no input "ss"; did you mean "s"[\s\S]*only inputs of the file can be constants: x/,
  );
  await expect(importOnnx(bytes, { constant: { s: [3, 2] } } as never)).rejects.toThrow('did you mean "constants"?');
  await expect(importOnnx(bytes, null as never)).rejects.toThrow("the options of importOnnx must be an object");
  await expect(importOnnx("model.onnx" as never)).rejects.toThrow("as its bytes");
});

describe("two values of one name", () => {
  const w = floats("w", [5, 7]);
  it.each<[string, Uint8Array]>([
    ["w", file({ x: [2, 5] }, [w, w], [["MatMul", ["x", "w"], "y"]], { y: [2, 7] })],
    [
      "t",
      file(
        { x: [2, 5] },
        [],
        [
          ["Relu", ["x"], "t"],
          ["Neg", ["x"], "t"],
        ],
        { t: [2, 5] },
      ),
    ],
    ["x", file({ x: [2, 5] }, [], [["Relu", ["x"], "x"]], { x: [2, 5] })],
  ])("%s are refused", async (name, bytes) => {
    await expect(importOnnx(bytes)).rejects.toThrow(`two values of the model are named "${name}"`);
  });
});

describe("weights", () => {
  it.each([
    ["int8", "standard"],
    ["int4", "standard"],
    ["int8", "onnxruntime"],
    ["int4", "onnxruntime"],
  ] as const)("of %s, %s, come in as floats, and go out as the same integers", async (dtype, dialect) => {
    const first = await encodeOnnx(exportOnnx(layer(), { dtype, dialect, opset: 21 }), weightsOf);
    const { graph, parameters } = await importOnnx(first);
    expect([...parameters.keys()].sort()).toEqual(["head.bias", "head.weight"]);
    const values = await valuesOf(parameters);
    const again = await encodeOnnx(exportOnnx(graph, { dtype, dialect, opset: 21 }), (p) => values.get(inputName(p)));
    expect(integersOf(again)).toEqual(integersOf(first));
    const second = await valuesOf((await importOnnx(again)).parameters);
    expect(second.get("head.weight")!.data).toEqual(values.get("head.weight")!.data);
  });

  it("of MatMulNBits are what their blocks say", async () => {
    // One column of 32 rows, two in a byte, the first in the lower half: 0 to 15 twice, times 0.5, less 8.
    const packed = {
      name: "q",
      dims: [1, 1, 16],
      dataType: 2,
      rawData: Uint8Array.from({ length: 16 }, (_, i) => ((2 * i) & 15) | (((2 * i + 1) & 15) << 4)),
    };
    const bytes = encodeModel({
      ...{
        irVersion: 8,
        opsetImport: [
          { domain: "", version: 21 },
          { domain: "com.microsoft", version: 1 },
        ],
      },
      graph: {
        ...{ name: "bits", input: [info("x", ["rows", 32])], output: [info("y", ["rows", 1])] },
        initializer: [packed, floats("s", [1], [0.5])],
        node: [
          {
            ...{ opType: "MatMulNBits", domain: "com.microsoft", input: ["x", "q", "s"], output: ["y"] },
            attribute: (Object.entries({ K: 32, N: 1, bits: 4, block_size: 32 }) as [string, number][]).map(attribute),
          },
        ],
      },
    } as ModelProto);
    const { graph, parameters } = await importOnnx(bytes);
    const { q } = Object.fromEntries(await valuesOf(parameters));
    expect(Array.from(q!.data)).toEqual(Array.from({ length: 32 }, (_, i) => ((i % 16) - 8) * 0.5));
    expect(graph.outputs[0]!.node.type.axes.map((a) => String(a.size))).toEqual(["rows", "1"]);
  });

  it("in another file are read from the folder of the model alone, links followed", async () => {
    mkdirSync(folder.at("inside"), { recursive: true });
    const path = folder.at("inside", "m.onnx");
    await writeOnnx(path, exportOnnx(layer()), weightsOf, { external: true });
    const { parameters } = await openOnnx(path);
    const { data } = await parameters.get("head.weight")!.read();
    expect(data.length).toBe(64 * 64);
    expect(Array.from(data)).toContain(Math.fround(Math.sin(70) / 8));
    writeFileSync(folder.at("secret.bin"), new Uint8Array(64));
    symlinkSync(folder.at("secret.bin"), folder.at("inside", "link"));
    for (const location of ["../secret.bin", folder.at("secret.bin"), "link", ".", "x/../../secret.bin", "\0"]) {
      writeFileSync(folder.at("inside", "bad.onnx"), apart(location));
      await expect(openOnnx(folder.at("inside", "bad.onnx"))).rejects.toThrow("which is not a file in its folder");
    }
    await expect(importOnnx(apart("link"))).rejects.toThrow("only the bytes of the model");
    for (const location of ["..plain", "...", "..folder/plain"]) {
      mkdirSync(dirname(folder.at("inside", location)), { recursive: true });
      writeFileSync(folder.at("inside", location), new Uint8Array(64));
      writeFileSync(folder.at("inside", "good.onnx"), apart(location));
      await expect(openOnnx(folder.at("inside", "good.onnx")), location).resolves.toBeDefined();
    }
  });
});

/** A file whose one weight lies somewhere else. */
function apart(location: string): Uint8Array {
  const external = [{ key: "location", value: location }];
  const w = { name: "w", dims: [16], dataType: 1, dataLocation: 1, externalData: external };
  return file({ x: [16] }, [w], [["Add", ["x", "w"], "y"]], { y: [16] });
}

describe("training", () => {
  it("moves what a pattern names, as of any model, and the result is exported", async () => {
    const { graph } = await importOnnx(await encodeOnnx(exportOnnx(layer()), weightsOf));
    const loss = (p: Params) => {
      const off = sub(applyGraph(p, graph).y!, 1);
      return { loss: typed<never>(mean(mul(off, off), off.type.axes as Axis[])) };
    };
    const optimizer = { rate: constantRate(0.1), weightDecay: 0 };
    const step = trainingStep(defineStage({ name: "tune", trainable: ["head.bias"], optimizer, loss }));
    expect([step.trained, step.frozen].map((list) => list.map(inputName))).toEqual([["head.bias"], ["head.weight"]]);
    const x = hostTensor(
      "f32",
      [
        { name: "batch", size: 2 },
        { name: "in", size: 64 },
      ],
      new Float32Array(128).fill(0.1),
    );
    const at = folder.at("run");
    mkdirSync(at);
    await train(
      {
        ...{ step, steps: 60, sizes: { batch: 2 }, seed: 1, checkpointEvery: 60 },
        async *batches() {
          for (;;) yield { feeds: { x }, next: 0 };
        },
      },
      { folder: at, backend: referenceBackend(), note: () => {} },
    );
    const losses = readFileSync(join(at, "metrics.jsonl"), "utf8")
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { loss: number }).loss);
    expect(losses.at(-1)).toBeLessThan(losses[0]! / 100);
    const tuned = await heddle(
      "export",
      writtenGraph(printGraph(graph)),
      "--weights",
      join(at, "model.safetensors"),
      "--out",
      folder.at("tuned.onnx"),
      "--verify",
    );
    expect([tuned.status, tuned.err]).toEqual([0, ""]);
  });

  it("takes tensors in place of inputs, and says where they do not fit", async () => {
    const { graph } = await importOnnx(await encodeOnnx(exportOnnx(layer()), weightsOf));
    const rows = input("rows", "f32", [axis("batch", 3), axis("in", 64)]);
    const { y } = applyGraph(rootParams(), graph, { x: mul(rows, 2) });
    expect(y!.type.axes.find((a) => a.name === "batch")!.size).toBe(3);
    const wrong = (inputs: Record<string, AnyTensor>) => () => applyGraph(rootParams(), graph, inputs);
    expect(wrong({ z: rows })).toThrow('graph @layer has no input "z"');
    expect(wrong({ x: input("rows", "f32", [axis("batch", 3), axis("in", 32)]) })).toThrow(
      "but the given tensor is f32[batch=3, in=32]",
    );
  });
});

/** A .graph file of the text. */
function writtenGraph(text: string): string {
  writeFileSync(folder.at("tuned.graph"), text);
  return folder.at("tuned.graph");
}

describe("heddle import", () => {
  it("writes a graph and its weights, which other commands take; they take the file as well", async () => {
    const path = folder.at("layer.onnx");
    await writeOnnx(path, exportOnnx(layer()), weightsOf);
    const made = await heddle("import", path, "--out", folder.at("out"), "--json");
    expect([made.status, made.err]).toEqual([0, ""]);
    expect(JSON.parse(made.out)).toMatchObject({
      parameters: 2,
      openSizes: ["batch"],
      inputs: { x: "f32[batch=batch, in=64]" },
    });
    await using reader = await openSafetensors(folder.at("out", "model.safetensors"));
    expect([...reader.tensors.keys()].sort()).toEqual(["head.bias", "head.weight"]);
    const again = folder.at("again.onnx");
    const graph = await heddle(
      "export",
      folder.at("out", "model.graph"),
      "--weights",
      folder.at("out", "model.safetensors"),
      "--out",
      again,
      "--verify",
    );
    expect([graph.status, graph.err]).toEqual([0, ""]);
    const direct = await heddle("export", path, "--out", folder.at("direct.onnx"), "--verify");
    expect([direct.status, direct.err]).toEqual([0, ""]);
    expect(readFileSync(folder.at("direct.onnx"))).toEqual(readFileSync(again));
    const whole = await heddle("inspect", folder.at("out"));
    expect([whole.status, whole.err]).toEqual([
      1,
      expect.stringContaining(`give "${folder.at("out", "model.graph")}"`),
    ]);
    const missing = await heddle("import", folder.at("none.onnx"), "--out", folder.at("none"));
    expect([missing.status, missing.err]).toEqual([1, expect.stringContaining("cannot be read")]);
  });
});
