import { writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { emitWgsl } from "/work/attention/backends/webgpu/index.ts";
import { printKernel } from "/work/attention/compiler/index.ts";
import {
  attentionKernels,
  check,
  onlyAttention,
  recorded,
  type Shape,
} from "/work/attention/test/kernels/attention-cases.ts";
import { validatingDevice } from "/work/attention/test/support/adapter.ts";

const shapes: Shape[] = [
  { queries: 33, keys: 65, dim: 32, batch: 2, heads: 2 },
  { queries: 70, keys: 40, dim: 40, width: 24, mask: "causal" },
];
for (const adapter of ["nvidia-h200", "amd-rdna3", "apple-m"] as const)
  for (const s of shapes)
    for (const ahead of [0, 1])
      for (const tiles of [1, 4])
        it(`${adapter} ${JSON.stringify(s)} ${ahead} ${tiles}`, async () => {
          const t0 = Date.now();
          const { program, mistakes } = check(
            s,
            recorded(adapter),
            onlyAttention("subgroup-matrices", (x) => x.ahead === ahead && x.tiles === tiles),
            4e-3,
          );
          const [k] = attentionKernels(program);
          console.log(k!.schedule, JSON.stringify(k!.settings), Date.now() - t0);
          writeFileSync("/tmp/k.txt", printKernel(k!.kernel));
          writeFileSync("/tmp/k.wgsl", emitWgsl(k!.kernel));
          expect(mistakes).toEqual([]);
          const gpu = await validatingDevice();
          const module = gpu.device.createShaderModule({ code: emitWgsl(k!.kernel) });
          const { messages } = await gpu.settle(module.getCompilationInfo());
          expect([...messages].map((m) => m.message)).toEqual([]);
        });
