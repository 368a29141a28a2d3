/** heddle compiled ahead of time: its bundle's run.js, for a page without the compiler. */
import type { Open } from "../subject.ts";

export const open: Open = async (base) => {
  const { loadBundle } = await import(/* @vite-ignore */ `${base}bundle/run.js`);
  const model = await loadBundle(`${base}bundle/`);
  return { run: async (pixel_values) => (await model.run({ pixel_values })).logits };
};
