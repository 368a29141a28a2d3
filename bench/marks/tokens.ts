/** InternVL-G decoding: time per token, with weights in f16 and int4. */
import { type GenerativeConfig, internvlGConfig } from "../../models/index.ts";
import { deviceModel } from "../../runtime/index.ts";
import { captionGraphs, captionSession, captionSource } from "../heddle/caption.ts";
import { median } from "../statistics.ts";
import { join, type MarkContext, type MarkGroup } from "./mark.ts";
import { halfOptions } from "./precision.ts";
import type { Shapes } from "./shapes.ts";

const isPublished = (s: Shapes): boolean => s.blocks === 48 && s.layers === 32;

/** At depths other than the published ones the model is also narrow, for trying. */
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
    const half = halfOptions(context);
    const note = join("its scores were checked to be finite only", half.note);
    record(names(context.shapes).f16, { value: await tokenTime(context, "f16"), ...note });
    record(names(context.shapes).int4, { value: await tokenTime(context, "int4"), ...join("its scores likewise") });
  },
};

/** Milliseconds per token, with weights stored as `dtype`. */
async function tokenTime({ backend, shapes }: MarkContext, dtype: "f16" | "int4"): Promise<number> {
  const config = configOf(shapes);
  const graphs = captionGraphs(config, dtype);
  const model = deviceModel(backend, captionSource(graphs), { precision: dtype === "f16" ? "f16" : "f32" });
  try {
    const session = captionSession(model, graphs, config, 1, shapes.tokens + 2);
    await session.begin();
    const times: number[] = [];
    for (let i = 0; i < shapes.tokens + 2; i++) {
      const begun = performance.now();
      const ranked = await session.next();
      times.push(performance.now() - begun);
      if (!Array.from(ranked.totals).every(Number.isFinite))
        throw new RangeError("a token's scores are no finite numbers");
    }
    session.dispose();
    return median(times.slice(2));
  } finally {
    model.dispose();
  }
}
