/** InternVL-G writing: the time of a token, with weights in f16 and in int4. */
import { type GenerativeConfig, internvlGConfig } from "../../models/index.ts";
import { deviceModel } from "../../runtime/index.ts";
import { captionGraphs, captionSession, parametersOf } from "../heddle/caption.ts";
import { tableWeights } from "../model/table-weights.ts";
import { median } from "../statistics.ts";
import { join, type MarkGroup } from "./mark.ts";
import { halfOptions } from "./precision.ts";
import type { Shapes } from "./shapes.ts";

const isPublished = (s: Shapes): boolean => s.blocks === 48 && s.layers === 32;

/** At other depths than the published ones it is narrow too: so it is for trying. */
const configOf = (s: Shapes): GenerativeConfig => {
  const { vision, text } = internvlGConfig;
  if (isPublished(s)) return internvlGConfig;
  return {
    ...internvlGConfig,
    vision: { ...vision, depth: s.blocks, width: 64, heads: 2, mlp: 96, image: 28 },
    text: { ...text, depth: s.layers, width: 64, heads: 2, mlp: 96, vocab: 300, queries: 4, crossEvery: 1 },
  };
};

const names = (s: Shapes) => {
  const model = isPublished(s) ? "InternVL-G 13.8 B" : "InternVL-G (small)";
  return { f16: `${model}, a token, f16`, int4: `${model}, a token, int4` };
};

export const tokens: MarkGroup = {
  name: "token",
  marks: (s) => ({
    [names(s).f16]: { unit: "ms", first: 9, goal: 5 },
    [names(s).int4]: { unit: "ms", first: 5, goal: 2.5 },
  }),
  measure: async (context, record) => {
    const { backend, shapes } = context;
    const half = halfOptions(context);
    const config = configOf(shapes);
    const graphs = captionGraphs(config, "f16");
    const model = deviceModel(backend, tableWeights(parametersOf(graphs)), { precision: "f16" });
    try {
      const session = captionSession(model, graphs, config, 1, shapes.tokens + 2);
      await session.begin();
      const times: number[] = [];
      for (let i = 0; i < shapes.tokens + 2; i++) {
        const begun = performance.now();
        const scores = await session.next();
        times.push(performance.now() - begun);
        if (!scores.every((v) => Number.isFinite(v))) throw new RangeError("a score is no finite number");
      }
      session.dispose();
      record(names(shapes).f16, {
        value: median(times.slice(2)),
        ...join("its scores were checked to be finite only", half.note),
      });
    } finally {
      model.dispose();
    }
    record(names(shapes).int4, { skipped: "int4 weights on WebGPU are not there yet" });
  },
};
