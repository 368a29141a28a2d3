/** The lists of stages: every target gets the common passes, or its list says why not. */
import { describe, expect, it } from "vitest";
import { onnxStages, settledOptions } from "../../backends/onnx/index.ts";
import { referenceBackend } from "../../backends/reference/index.ts";
import {
  baselineFacts,
  bindSizes,
  checkOrder,
  commonPasses,
  commonStagesBut,
  graphForm,
  makeGraph,
  ops,
  referenceStages,
  runStages,
  symbol,
  webgpuStages,
} from "../../compiler/index.ts";

const lists = {
  webgpu: webgpuStages(baselineFacts),
  onnx: onnxStages(settledOptions()),
  reference: referenceStages({}),
};

describe.each(Object.entries(lists))("the pipeline to %s", (target, stages) => {
  it("is in an order that its stages can work in, each under a name of its own", () => {
    expect(() => checkOrder(stages)).not.toThrow();
    expect(new Set(stages.map((s) => s.name)).size).toBe(stages.length);
  });

  it("has the common passes in their order, but for those that it does without", () => {
    const all = commonPasses.map((p) => p.name);
    const doneWithout: Readonly<Record<string, readonly string[]>> = { webgpu: [], onnx: ["prune"], reference: all };
    const without = doneWithout[target]!;
    const common = stages.map((s) => s.name).filter((name) => all.includes(name));
    expect(common).toEqual(all.filter((name) => !without.includes(name)));
  });
});

describe("commonStagesBut", () => {
  it("refuses to do without what is not there", () => {
    expect(() => commonStagesBut({ prun: "no reason" })).toThrow('there is no common pass "prun" to do without');
  });
});

describe("the pipeline to the interpreter", () => {
  const open = makeGraph("count", [{ name: "y", node: ops.iota({ name: "n", size: symbol("n") }) }]);

  it("only binds sizes: the interpreter is given the graph as it is", () => {
    const wasteful = ops.add(ops.neg(ops.neg(ops.iota({ name: "n", size: symbol("n") }))), 0);
    const graph = makeGraph("g", [{ name: "y", node: wasteful }]);
    expect(runStages(graph, referenceStages({ n: 3 }), graphForm)).toEqual(bindSizes(graph, { n: 3 }));
  });

  it("refuses a size that nobody gives, before anything is computed", async () => {
    const backend = referenceBackend();
    const executable = await backend.compile(open);
    await expect(executable.run({}, backend.createStore())).rejects.toThrow(
      'graph @count cannot be evaluated: the size "n" is no dimension of a feed; give it a number',
    );
    const sized = await backend.compile(open, { sizes: { n: 3 } });
    expect((await sized.run({}, backend.createStore())).y!.data).toHaveLength(3);
  });
});
