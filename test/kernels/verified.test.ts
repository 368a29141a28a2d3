/**
 * What a compile verifies of its kernels, whatever schedule made them: each is well formed, and the adapter can run it.
 */
import { describe, expect, it } from "vitest";
import { baselineFacts, compileKernels, isStageFault, lowering, parseGraph } from "../../compiler/index.ts";

const graph = parseGraph(`graph @g(%x: f32[row=rows, column=5], %w: f32[column=5]) {
  %0 = softmax %x axis column
  %1 = add %w, 1
  return %0, %1
}`);

type Lower = lowering.Schedule<lowering.RowProblem>["lower"];

const rowPerThread = lowering.scheduleTables.row_reduction.schedules.find((s) => s.name === "row-per-thread");

/** Compiles with a schedule whose code is changed; gives the fault. */
function faultOf(change: (code: lowering.KernelCode) => lowering.KernelCode, check?: "all") {
  const lower: Lower = (problem, settings) => change(rowPerThread!.lower(problem, settings));
  const schedules = lowering.withSchedule("row_reduction", { ...rowPerThread!, name: "broken", lower });
  try {
    compileKernels(graph, baselineFacts, { schedules, ...(check && { check }) });
  } catch (error) {
    if (isStageFault(error)) return error;
    throw error;
  }
  throw new Error("nothing was found");
}

const malformed = (code: lowering.KernelCode) => ({ ...code, body: [...code.body, ...code.body] });
const tooLarge = (code: lowering.KernelCode) => ({ ...code, workgroup: [512, 1, 1] as const });

describe("every compile verifies each kernel", () => {
  it("that it is well formed", () => {
    expect(faultOf(malformed).message).toMatch(/^kernel "reduce_max\+div" is malformed: i0 is bound twice/);
    expect(faultOf(malformed).stage).toBe("kernels");
  });

  it("that the adapter can run it", () => {
    const { message, before } = faultOf(tooLarge);
    expect(message).toBe(
      'after stage "kernels", kernel "reduce_max+div" cannot run: the workgroup has 512 threads along x, and the adapter allows 256; the workgroup has 512 threads, and the adapter allows 256',
    );
    expect(before).toContain('kernel row_reduction "reduce_max+div"');
  });

  it("variants for certain sizes too", () => {
    const schedule: lowering.Schedule<lowering.RowProblem> = {
      ...rowPerThread!,
      name: "broken where few",
      fits: ({ rows }) => ({ assuming: [{ dim: rows, max: 4 }] }),
      lower: (problem, settings) => malformed(rowPerThread!.lower(problem, settings)),
    };
    const schedules = lowering.withSchedule("row_reduction", schedule);
    expect(() => compileKernels(graph, baselineFacts, { schedules })).toThrow(/is malformed/);
  });
});

it("with check: all, what each stage made, so that the fault names the stage", () => {
  expect(faultOf(malformed, "all").stage).toBe("lower");
  expect(faultOf(tooLarge, "all").stage).toBe("lower");
});

it("what a model asks for is no fault of a schedule: halves, and tensors that the adapter does not bind", () => {
  const halves = parseGraph("graph @g(%x: f16[a=4]) {\n  %0 = neg %x\n  return %0\n}");
  expect(compileKernels(halves).kernels).toHaveLength(1);
  const large = parseGraph("graph @g(%x: f32[a=100000000]) {\n  %0 = neg %x\n  return %0\n}");
  expect(compileKernels(large).kernels).toHaveLength(1);
});
