/** onnxruntime-web with its WebGPU provider. */
import type { Open } from "../subject.ts";

export const open: Open = async (base, size) => {
  const dist = `${base}peers/onnxruntime-web/dist/`;
  const ort = await import(/* @vite-ignore */ `${dist}ort.webgpu.bundle.min.mjs`);
  ort.env.wasm.wasmPaths = dist;
  const session = await ort.InferenceSession.create(`${base}vit/onnx/model.onnx`, {
    executionProviders: ["webgpu"],
    graphOptimizationLevel: "all",
  });
  return {
    run: async (pixels) => {
      const { logits } = await session.run({ pixel_values: new ort.Tensor("float32", pixels, [1, 3, size, size]) });
      return logits.data;
    },
  };
};
