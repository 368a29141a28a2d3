import { printPlan } from "./compiler/fusion/index.ts";
import { kernelIr, symbol } from "./compiler/index.ts";
import { webgpuStages } from "./compiler/pipelines/webgpu.ts";
import { defineModel, trace } from "./dsl/index.ts";
import * as m from "./models/index.ts";
import { cachedStep } from "./runtime/generation/cache-graphs.ts";

const step = trace(
  defineModel({
    name: "q",
    summary: "",
    config: { ...(m as any).chineseLlama7b, depth: 1 },
    build: (p: any, cc: any) => (m as any).decodeStep(p, cc),
  }) as any,
);
let g: any = cachedStep(step, { rows: 1, capacity: symbol("capacity") }, 1, { rank: 1 });
const facts: any = { bindingAlignment: 256, ...(kernelIr as any).recordedAdapters["nvidia-h200"].facts };
for (const s of webgpuStages(facts) as any) {
  g = s.run(g);
  if (s.name === "fusion") {
    console.log(printPlan(g));
    break;
  }
}
