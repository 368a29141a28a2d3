/** The cost of symbolic sizes: the same graph compiled with symbolic and with constant sizes, in alternating runs. */
import type { Backend } from "../../backends/backend.ts";
import { webgpuBackend } from "../../backends/webgpu/index.ts";
import { tunedOptions } from "../../cli/index.ts";
import { type HostTensor, hostTensor, UsageError } from "../../compiler/index.ts";
import { defineModel, trace } from "../../dsl/index.ts";
import { decodeStep, type TextConfig } from "../../models/index.ts";
import { cachedSession, deviceModel } from "../../runtime/index.ts";
import { difference } from "../agreement.ts";
import { openDevice } from "../device.ts";
import { tableWeights } from "../model/table-weights.ts";
import { normals } from "../model/values.ts";
import { type BlockConfig, openBlockModel } from "../model/vit.ts";
import { median } from "../statistics.ts";
import type { Run, Subject } from "../subject.ts";

/** The forward pass of a block with symbolic batch and tokens. */
export const openBlock = (c: BlockConfig): Promise<Subject> =>
  compared(async (backend, fixed) => {
    const graph = trace(openBlockModel(c));
    const session = await deviceModel(backend, tableWeights(graph), { fixed }).session(graph);
    const axes = Object.entries({ batch: c.batch, token: c.tokens, embed: c.width }).map(([name, size]) => ({
      name,
      size,
    }));
    const x: HostTensor = hostTensor("f32", axes, normals("x", c.batch * c.tokens * c.width));
    return async () => (await session.run({ x })).y!.data as Float32Array;
  });

/** A decoder step of the given number of tokens, with the given cache capacity. */
export const openStep = (c: TextConfig, tokens: number, capacity: number): Promise<Subject> =>
  compared(async (backend, fixed) => {
    const graph = trace(defineModel({ name: "step", summary: "", config: c, build: decodeStep }));
    const model = deviceModel(backend, tableWeights(graph), { fixed });
    const session = cachedSession(model, graph, { rows: 1, capacity });
    const ids = Array.from({ length: tokens }, (_, i) => (7 * i + 3) % c.vocab);
    return async () => {
      session.clear();
      return Float32Array.from(await session.step([ids]));
    };
  });

/** Pairs of runs per repetition. */
const pairs = 15;
const tolerance = 1e-5;

/**
 * Both variants on one device. A repetition returns medians: each variant's time in ms, and the ratio within pairs. On
 * a software adapter the CPU time of all threads is measured, which other load does not affect.
 */
async function compared(make: (backend: Backend, fixed: boolean) => Promise<Run>): Promise<Subject> {
  const gpu = await openDevice();
  const backend = webgpuBackend(gpu, await tunedOptions(gpu));
  const clock = gpu.adapter.software ? cpuMilliseconds : () => performance.now();
  const timed = async (run: Run): Promise<number> => {
    const begun = clock();
    await run();
    return clock() - begun;
  };
  return {
    gpu,
    build: async () => {
      const [open, fixed] = [await make(backend, false), await make(backend, true)];
      const apart = difference(await open(), await fixed());
      if (!(apart <= tolerance)) throw new UsageError(`with open sizes the outputs are ${apart.toExponential(1)} off`);
      return async () => {
        const times: [number, number][] = [];
        for (let i = 0; i < pairs; i++) {
          // The order alternates between pairs.
          if (i % 2 === 0) times.push([await timed(open), await timed(fixed)]);
          else times.push([await timed(fixed), await timed(open)].reverse() as [number, number]);
        }
        const middle = (of: (pair: readonly [number, number]) => number) => median(times.map(of));
        return Float64Array.of(
          middle(([o]) => o),
          middle(([, f]) => f),
          middle(([o, f]) => o / f),
        );
      };
    },
  };
}

function cpuMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
