/** What the playground's workers know without a browser: where lines of kernels come from, and what may be opened. */
import { describe, expect, test } from "vitest";
import * as h from "../../api/index.ts";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import {
  baselineFacts,
  compileKernels,
  fusedNodes,
  inputName,
  type Node,
  printKernel,
  recordingObserver,
} from "../../compiler/index.ts";
import { requireRoom } from "../../playground/machine/batch-memory.ts";
import type { Emoji } from "../../playground/machine/emoji.ts";
import { lineFrom, linesByName } from "../../playground/machine/kernel-lines.ts";
import { readOpened } from "../../playground/machine/opened-weights.ts";
import { side } from "../../playground/machine/packed-emoji.ts";
import { inPageWords } from "../../playground/machine/page-words.ts";
import { type Runner, requireTokens, shapeOf, Towers } from "../../playground/machine/towers.ts";
import { beginAnew, FolderInUseError } from "../../runtime/index.ts";

const [batch, token, embed] = [h.axis("batch", "batch"), h.axis("token", 4), h.axis("embed", 8)];
const channel = h.axis("channel", 3);
const [row, column] = [h.axis("row", 4), h.axis("column", 4)];

describe("lines of a kernel's text", () => {
  const x = h.input("x", "f32", [token, embed]);
  const hidden = h.axis("hidden", 8);
  const build = (p: h.Params) => ({
    y: h.gelu(
      h.add(h.contract(x, p.parameter("w", [embed, hidden], h.ones), embed), p.parameter("b", [hidden], h.ones)),
    ),
  });
  const graph = h.trace(h.defineModel({ name: "layer", summary: "", config: {}, build }));
  const recording = recordingObserver();
  const { kernels } = compileKernels(graph, baselineFacts, { observers: [recording] });
  const nodes = fusedNodes(recording.reports)[0]!;
  const { kernel, bindings } = kernels[0]!;
  const written = new Map<string, number>([
    ["x", 1],
    ["w", 2],
    ["b", 3],
    ["contract", 4],
    ["add", 5],
    ["gelu", 6],
  ]);
  const lineOf = (node: Node) => written.get(node.attrs.name === undefined ? node.op : inputName(node));
  const known = linesByName(
    kernel,
    bindings.map(({ root }) => root),
    nodes,
    lineOf,
  );

  test.each([
    ["WGSL", emitWgsl(kernel)],
    ["kernel IR", printKernel(kernel)],
  ])("of %s are known for buffers, ops, the sum and what is stored, and for no index", (_, text) => {
    const lines = text.split("\n").map((line) => ({ line, from: lineFrom(line, known).line }));
    const from = (pattern: RegExp) => [...new Set(lines.filter(({ line }) => pattern.test(line)).map((l) => l.from))];
    const names = bindings.map(({ root }) => (root.attrs.name === undefined ? "result" : inputName(root)));
    for (const [i, name] of names.entries()) {
      const line = name === "result" ? written.get(nodes.at(-1)!.op) : written.get(name);
      expect(from(new RegExp(`^ *(@group.* )?(var<storage.*> )?b${i}(:|\\[)`))).toEqual([line]);
    }
    expect(from(/^ *c\d+ = /)).toEqual([written.get("contract")]);
    expect(from(/= .*\blid\b/)).toEqual([undefined]);
    expect(new Set(lines.map((l) => l.from))).toContain(written.get("gelu"));
  });

  test("of one op that is written on two lines are of neither", () => {
    const twice = (node: Node) => (node.op === "gelu" ? undefined : node === nodes[0] ? 8 : 9);
    const tensors = bindings.map(({ root }) => root);
    const both = linesByName(kernel, tensors, [...nodes, { ...nodes[0]! }], twice);
    expect([...both.values()].every((line) => line === 8 || line === 9)).toBe(true);
    expect(kernel.body.some((s) => s.kind === "assign" && both.has(s.target.name))).toBe(false);
  });
});

describe("what is opened", () => {
  const towers = (vocab: number) => {
    const [places, feature] = [h.axis("vocab", vocab), h.axis("feature", 3)];
    return h.defineModel({
      name: "towers",
      summary: "",
      config: {},
      build: (p) => {
        const pixels = h.input("pixels", "f32", [batch, channel, row, column]);
        const ids = h.input("ids", "i32", [batch, token]);
        const image = h.rename(h.mean(h.mean(pixels, row), column), channel, feature);
        const text = h.mean(h.gather(p.parameter("table", [places, feature], h.ones), ids, places), token);
        return { image, text };
      },
    });
  };
  const emoji = { vocabulary: 20 };
  const exported = async (vocab: number) => {
    const bytes = await h.exportOnnx(towers(vocab), { weights: { seed: 1 }, ids: "int64" });
    return new File([new Uint8Array(bytes)], "towers.onnx");
  };

  test("must have as many tokens as the page's names: a model, and an ONNX file of another", async () => {
    requireTokens(h.trace(towers(20)), emoji);
    expect(() => requireTokens(h.trace(towers(19)), emoji)).toThrow(
      "has a vocabulary of 19 tokens, but the names of the emoji need 20",
    );
    const opened = await readOpened(await exported(20), towers(20), emoji);
    expect(opened.weights.size).toBeGreaterThan(0);
    await expect(readOpened(await exported(19), towers(20), emoji)).rejects.toThrow("has a vocabulary of 19 tokens");
  });
});

test("axes of inputs count by their order: files of other programs do not name those of a fixed size", async () => {
  const [a1, a2, a3] = [h.axis("pixels_dim1", 3), h.axis("pixels_dim2", 4), h.axis("pixels_dim3", 4)];
  const words = h.axis("ids_dim1", 6);
  const table = h.axis("vocab", 9);
  const build = (p: h.Params) => ({
    image: h.mean(h.input("pixels", "f32", [batch, a1, a2, a3]), [a2, a3]),
    text: h.mean(
      h.gather(p.parameter("table", [table, embed], h.ones), h.input("ids", "i32", [batch, words]), table),
      words,
    ),
  });
  const graph = h.trace(h.defineModel({ name: "foreign", summary: "", config: {}, build }));
  expect(shapeOf(graph)).toMatchObject({ image: 4, tokens: 6 });
  const emoji = { ids: (_: string, length: number) => Array(length).fill(1) } as unknown as Emoji;
  const device = await h.openDevice("reference");
  const weights = { seed: 1 };
  const run: Runner = async (part, feeds) => {
    const session = await h.session(device, part, { weights });
    return await session.run(feeds);
  };
  const towers = new Towers(graph, {}, emoji, run);
  expect((await towers.texts(["a", "b", "c"])).data).toEqual(new Float32Array(3 * 8).fill(1));
  expect((await towers.pictures([new Float32Array(3 * side * side)])).width).toBe(3);
  device.dispose();
  const swapped = () => ({ image: h.input("pixels", "f32", [batch, row, column, channel]) });
  const wrong = h.trace(h.defineModel({ name: "swapped", summary: "", config: {}, build: swapped }));
  expect(() => shapeOf(wrong)).toThrow('swapped has no input "pixels" with an axis "row" of a known size');
});

describe("faults of a run in the page's words", () => {
  test("another window, and no room", async () => {
    expect(String(inPageWords(new FolderInUseError("/heddle-playground/ab is in use")))).toContain("in another window");
    const full = Object.assign(new Error("ENOSPC: quota"), { code: "ENOSPC" });
    const told = inPageWords(new h.FileError("cannot write /a", { cause: full }));
    expect(String(told)).toMatch(/no more storage.*\n.*"Start over"/);
    expect(inPageWords(full.cause)).toBeUndefined();
  });

  test("without options of the command line", () => {
    const worded = (error: Error, asked?: "openFile") => (inPageWords(error, asked) as Error).message;
    const symbols = `node "y" (Conv): a side is h, which 2 may not divide: set h and w when importing, as in h=640 (--size h=640, or --set h=640 for a command that takes the file itself, or sizes: { h: 640 } in a program); or w=h if they are equal; or leave it open, as in h=32*n`;
    expect(worded(new h.UnsupportedError(symbols), "openFile")).toMatch(
      /which 2 may not divide: set h and w when importing, as in h=640; or w=h if they are equal; or leave it open, as in h=32\*n\n {2}hint: this page opens whole/,
    );
    const missing =
      "cannot import 1 operator:\n  Foo: a\n  hint: name its last values as outputs (--outputs, or outputs)";
    expect(worded(new h.UnsupportedError(missing), "openFile")).toMatch(
      /^cannot import 1 operator:\n {2}Foo: a\n {2}hint: this/,
    );
    const full = (hint: string) => new h.OutOfMemoryError(`no memory\n  hint: ${hint}`, new Map());
    expect(worded(full("offloading (--offload) leaves more"))).toBe(
      "no memory\n  hint: a smaller batch or a smaller model needs less memory",
    );
    expect(
      worded(
        full(
          "weights in f16 (--dtype f16) take half, and offloading (--offload) streams them; a smaller model needs less",
        ),
      ),
    ).toBe("no memory\n  hint: a smaller model needs less");
    const gone = new h.FileError(`a: there is no run\n  hint: ${beginAnew}`);
    expect(worded(gone)).toBe('a: there is no run\n  hint: begin a new run with "Start over"');
    expect(worded(new h.DeviceLostError("gpu", "reset"))).toMatch(/continues from its newest checkpoint$/);
    expect(worded(new h.UsageError("a--b is not a - b"))).toBe("a--b is not a - b");
  });
});

test("a batch whose inputs a device cannot hold is refused with what it needs; states are not inputs of the batch", () => {
  const pixels = h.input("pixels", "f32", [batch, channel, row, column]);
  const loss = (p: h.Params) => {
    const scaled = h.mul(pixels, p.parameter("scale", [], h.ones));
    return { loss: h.mean(h.mul(scaled, scaled), [batch, channel, row, column]) };
  };
  const { graph } = h.trainingStep(h.defineStage({ name: "s", loss, optimizer: { rate: h.constantRate(0.1) } }));
  const [bytesEach, facts] = [4 * 3 * 4 * 4, { maxBindingBytes: 2 ** 27 }];
  const most = Math.floor(facts.maxBindingBytes / bytesEach);
  expect(() => requireRoom(graph, most, facts)).not.toThrow();
  expect(() => requireRoom(graph, most + 1, facts)).toThrow("the input has room for 699,050");
  expect(() => requireRoom(graph, 100_000_000, facts)).toThrow(
    'a batch of 100,000,000 needs 17.9 GiB for its input "pixels" alone, more than the 128 MiB that the device can bind',
  );
});
