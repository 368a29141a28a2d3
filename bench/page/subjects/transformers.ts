/** transformers.js, with WebGPU. */
import type { Open } from "../subject.ts";

export const open: Open = async (base, size) => {
  const folder = `${base}peers/@huggingface/transformers`;
  const { AutoModelForImageClassification, env, Tensor } = await import(
    /* @vite-ignore */ `${folder}/dist/transformers.min.js`
  );
  env.allowLocalModels = true;
  env.allowRemoteModels = false;
  env.localModelPath = base;
  env.useBrowserCache = false;
  env.backends.onnx.wasm.wasmPaths = `${folder}/node_modules/onnxruntime-web/dist/`;
  const model = await AutoModelForImageClassification.from_pretrained("vit", { device: "webgpu", dtype: "fp32" });
  return {
    run: async (pixels) => {
      const { logits } = await model({ pixel_values: new Tensor("float32", pixels, [1, 3, size, size]) });
      return (await logits.getData?.()) ?? logits.data;
    },
  };
};
