/** A canvas for drawing, or for dropping an image on. */

import { side } from "../machine/packed-emoji.ts";
import { planesOf } from "../machine/planes.ts";
import { element } from "../shell/element.ts";
import { drawTools } from "./draw-tools.ts";
import { penOn } from "./pen.ts";

export interface DrawPad {
  readonly element: HTMLElement;
  /** Loads an image from a file or the clipboard. Throws when it is not an image. */
  readonly take: (file: Blob) => Promise<void>;
}

export interface DrawPadOptions {
  /** Called with what is on the canvas, planes [channel, row, column], when that changed. */
  readonly onPicture: (picture: Float32Array) => void;
  /** Called with a file that the person chose. */
  readonly onImage: (file: File) => void;
}

/** Side of the canvas in pixels; larger than model inputs, so that lines are smooth. */
const size = 256;

export function drawPad({ onPicture, onImage }: DrawPadOptions): DrawPad {
  const canvas = padCanvas();
  const prompt = element("span", { class: "pad-prompt", "aria-hidden": "true" }, "Draw, drop or paste an image");
  const hidePrompt = () => void (prompt.hidden = true);
  const changed = () => onPicture(planesOf(shrunk(canvas)));
  const clear = () => {
    prompt.hidden = false;
    fill(canvas, "#ffffff");
  };
  clear();
  const tools = drawTools({
    onClear: clear,
    onFill: () => {
      hidePrompt();
      fill(canvas, tools.style().colour);
      changed();
    },
    onImage,
  });
  const pen = penOn(canvas, { style: tools.style, onBegin: hidePrompt, onEnd: changed });
  return {
    element: element(
      "div",
      { class: "draw" },
      element("div", { class: "pad-frame" }, canvas, prompt, pen),
      tools.element,
    ),
    take: async (picture) => {
      const bitmap = await createImageBitmap(picture);
      clear();
      hidePrompt();
      place(canvas, bitmap);
      changed();
    },
  };
}

const padCanvas = (): HTMLCanvasElement =>
  element("canvas", {
    width: size,
    height: size,
    class: "pad",
    tabindex: 0,
    role: "application",
    "aria-label": "Drawing. Arrow keys move the pen, with Shift they draw. Images can be dropped or pasted here.",
  });

/** The first context determines where pixels are stored: they are read at each change. */
const contextOf = (canvas: HTMLCanvasElement) => canvas.getContext("2d", { willReadFrequently: true })!;

function fill(canvas: HTMLCanvasElement, colour: string): void {
  const context = contextOf(canvas);
  context.fillStyle = colour;
  context.fillRect(0, 0, size, size);
}

/** Draws an image as large as fits, centred, and closes it. */
function place(canvas: HTMLCanvasElement, bitmap: ImageBitmap): void {
  const context = contextOf(canvas);
  const scale = size / Math.max(bitmap.width, bitmap.height);
  const [w, h] = [bitmap.width * scale, bitmap.height * scale];
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, (size - w) / 2, (size - h) / 2, w, h);
  bitmap.close();
}

/** The canvas, scaled down to the size of the sheet's images. */
function shrunk(canvas: HTMLCanvasElement): ImageData {
  const small = new OffscreenCanvas(side, side);
  const context = small.getContext("2d")!;
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, side, side);
  return context.getImageData(0, 0, side, side);
}
