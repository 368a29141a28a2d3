/** What becomes one kernel: the counts that the design promises, and the kernels of one block as text. */
import { describe, expect, test } from "vitest";
import { emitWgsl } from "../../backends/webgpu/index.ts";
import { blockModel } from "../../bench/model/vit.ts";
import type { Program } from "../../compiler/index.ts";
import { differentiate, type Graph, makeGraph, ops } from "../../compiler/index.ts";
import { printKernel } from "../../compiler/kernel/index.ts";
import { rootParams, trace } from "../../dsl/index.ts";
import { block, classifierStep, encoder, tokensInput, type VitSizes } from "./models.ts";
import { adapters, compileFor, withoutSplits } from "./support.ts";

const tiny: VitSizes = { batch: 2, tokens: 5, width: 8, heads: 2, mlp: 16, depth: 1 };
const large: VitSizes = { batch: 1, tokens: 257, width: 3200, heads: 25, mlp: 12800, depth: 4 };

const forward = (s: VitSizes): Graph =>
  makeGraph("block", [{ name: "y", node: block(rootParams(), tokensInput(s), s) }]);
const kinds = (p: Program) => p.kernels.map((k) => k.kind);
const texts = (p: Program) => new Set(p.kernels.map((k) => emitWgsl(k.kernel)));

describe.each(Object.keys(adapters))("on a %s adapter", (adapter) => {
  const facts = adapters[adapter]!;

  test.each([
    ["tiny", tiny],
    ["InternViT-6B", large],
  ])("the forward block of a %s transformer is at most 8 kernels", (_, sizes) => {
    const program = compileFor(forward(sizes), facts);
    expect(withoutSplits(program)).toBeLessThanOrEqual(8);
    expect(kinds(program).filter((k) => k === "contraction")).toHaveLength(4);
    expect(kinds(program).filter((k) => k === "attention")).toHaveLength(1);
    expect(kinds(program)).not.toContain("elementwise");
  });

  test("the backward pass of a block is at most 14 kernels: no gradient of a bias or of a norm's scale has one to itself", () => {
    const { outputs, inputs } = trace(blockModel({ batch: 8, tokens: 65, width: 256, heads: 8, mlp: 1024 }));
    const y = outputs[0]!.node;
    const dy = ops.input("dy", "f32", y.type.axes);
    const loss = ops.reduceSum(
      ops.mul(y, dy),
      y.type.axes.map((a) => a.name),
    );
    const desktop = { ...facts, maxBindings: Math.max(10, facts.maxBindings) };
    const forwards = withoutSplits(compileFor(makeGraph("forward", [{ name: "y", node: y }]), desktop));
    const gradients = differentiate(loss, inputs).map((node, i) => ({ name: `gradient ${i}`, node }));
    const program = compileFor(makeGraph("both", [{ name: "y", node: y }, ...gradients]), desktop);
    expect(withoutSplits(program) - forwards).toBeLessThanOrEqual(14);
    expect(kinds(program)).not.toContain("elementwise");
  });

  test("identical blocks share their code", () => {
    const one = compileFor(makeGraph("e", [{ name: "y", node: encoder(rootParams(), { ...tiny, depth: 2 }) }]), facts);
    const many = compileFor(
      makeGraph("e", [{ name: "y", node: encoder(rootParams(), { ...tiny, depth: 12 }) }]),
      facts,
    );
    expect(many.kernels.length).toBe(6 * one.kernels.length);
    expect(texts(many).size).toBe(texts(one).size);
  });

  test("a training step of four blocks is fewer than 175 dispatches, on CPU threads 130, its update at most 4", () => {
    const program = compileFor(
      classifierStep({ batch: 16, tokens: 65, width: 128, heads: 4, mlp: 512, depth: 4 }),
      facts,
    );
    expect(withoutSplits(program)).toBeLessThan(adapter === "gpu" ? 175 : 130); // eight bindings split some
    const state = new Set(program.graph.inputs.filter((n) => n.attrs.role === "state"));
    const updates = program.kernels.filter((k) =>
      k.bindings.some((b, i) => state.has(b.root) && k.kernel.buffers[i]!.access === "read_write"),
    );
    expect(updates.length).toBeLessThanOrEqual(4);
    expect(program.plan.copies).toEqual([]);
  });
});

test("one norm is one kernel, forward", () => {
  const x = ops.input("x", "f32", [
    { name: "row", size: 3 },
    { name: "column", size: 17 },
  ]);
  const w = ops.parameter("w", "f32", [{ name: "column", size: 17 }], { kind: "constant", value: 1 });
  const program = compileFor(
    makeGraph("norm", [{ name: "y", node: ops.rmsNorm(x, w, ["column"], 1e-6) }]),
    adapters.gpu!,
  );
  expect(kinds(program)).toEqual(["row_reduction"]);
});

test("the kernels of a block and their WGSL read as recorded", async () => {
  const program = compileFor(forward(tiny), adapters.software!);
  const kernels = program.kernels.map((k) => printKernel(k.kernel)).join("\n");
  await expect(kernels).toMatchFileSnapshot("golden/block.kernels");
  const wgsl = program.kernels.map((k) => `// ${k.name}\n${emitWgsl(k.kernel)}`).join("\n");
  await expect(wgsl).toMatchFileSnapshot("golden/block.wgsl");
});
