/** `heddle import` in a page: PP-OCR's files come in and read a picture. */
import { importOnnx } from "../../../backends/onnx/import/index.ts";
import { webgpuBackend } from "../../../backends/webgpu/index.ts";
import { requestBrowserDevice } from "../../../backends/webgpu/runtime/browser-device.ts";
import { runImported, sidesOf } from "../../onnx/import/imported-stage.ts";
import {
  type Cut,
  lettersFile,
  modelFiles,
  type Plain,
  type ReadText,
  readText,
  type Stage,
} from "../../onnx/import/reading-text.ts";

/** What went into a stage, and what came out. */
interface Ran {
  readonly stage: Stage;
  readonly input: Plain;
  readonly output: Plain;
}

/** What a picture says, and how each stage ran. `folder` has the picture and PP-OCR's files. */
export async function read(folder: string, picture: string): Promise<ReadText & { readonly stages: readonly Ran[] }> {
  const fetched = async (name: string) => await (await fetch(new URL(name, folder))).blob();
  const cut = cutOf(await createImageBitmap(await fetched(picture)));
  const names = await (await fetched(lettersFile)).text();
  const backend = webgpuBackend(await requestBrowserDevice());
  const stages: Ran[] = [];
  try {
    const said = await readText(cut, names, async (stage, input) => {
      const bytes = new Uint8Array(await (await fetched(modelFiles[stage])).arrayBuffer());
      const sizes = { ...sidesOf(stage, input), p2o_DynamicDimension_0: 1 };
      const output = await runImported(backend, await importOnnx(bytes, { sizes }), input);
      stages.push({ stage, input: listed(input), output: listed(output) });
      return output;
    });
    return { ...said, stages };
  } finally {
    backend.dispose();
  }
}

/** As it can be handed out of the page. */
const listed = ({ shape, data }: Plain): Plain => ({ shape, data: Array.from(data) });

/** Cuts a picture by the browser's canvas. */
function cutOf(bitmap: ImageBitmap): Cut {
  return async (box = [0, 0, bitmap.width, bitmap.height], to = { width: box[2], height: box[3], contain: false }) => {
    const [left, top, width, height] = box;
    const fit = Math.min(to.width / width, to.height / height);
    const [w, h] = to.contain ? [width * fit, height * fit] : [to.width, to.height];
    const context = new OffscreenCanvas(to.width, to.height).getContext("2d")!;
    context.fillStyle = "white";
    context.fillRect(0, 0, to.width, to.height);
    context.drawImage(bitmap, left, top, width, height, (to.width - w) / 2, (to.height - h) / 2, w, h);
    const rgba = context.getImageData(0, 0, to.width, to.height).data;
    return { width: to.width, height: to.height, data: rgba.filter((_, i) => i % 4 < 3) };
  };
}
