/** heddle, compiling in the page. */
import { hostTensor, openDevice, session } from "../../../api/browser.ts";
import model from "../model.ts";
import type { Open } from "../subject.ts";

export const open: Open = async (base, size) => {
  const settings = await (await fetch(`${base}settings.json`)).json();
  const weights = new URL("model.safetensors", base);
  const compiled = await session(await openDevice("webgpu"), model, { weights, settings, sizes: { batch: 1 } });
  const axes = [1, 3, size, size].map((n, i) => ({ name: ["batch", "channel", "row", "column"][i]!, size: n }));
  return {
    run: async (pixels) => {
      const { logits } = await compiled.run({ pixel_values: hostTensor("f32", axes, pixels) });
      return logits!.data as Float32Array;
    },
  };
};
