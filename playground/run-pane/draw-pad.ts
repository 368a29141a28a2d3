/** A canvas for drawing, or for dropping an image on. */

import { side } from "../machine/packed-emoji.ts";
import { planesOf } from "../machine/planes.ts";
import { element } from "../shell/element.ts";
import { penOn } from "./pen.ts";

export interface DrawPad {
  readonly element: HTMLElement;
  /** Loads an image from a file or the clipboard. Throws when it is not an image. */
  readonly take: (file: Blob) => Promise<void>;
}

/** Side of the canvas in pixels; larger than model inputs, so that lines are smooth. */
const size = 256;

const colours = {
  black: "#1d1c1a",
  red: "#d4373e",
  yellow: "#ffcc4d",
  blue: "#3b88c3",
  green: "#5c913b",
  purple: "#9266cc",
  brown: "#a0623b",
  white: "#ffffff",
} as const;

export function drawPad(onPicture: (picture: Float32Array) => void): DrawPad {
  const canvas = element("canvas", {
    width: size,
    height: size,
    class: "pad",
    tabindex: 0,
    role: "application",
    "aria-label": "Drawing. Arrow keys move the pen, with Shift they draw. Images can be dropped or pasted here.",
  });
  const context = canvas.getContext("2d", { willReadFrequently: true })!;
  let colour: string = colours.yellow;
  let width = 14;

  const prompt = element("span", { class: "pad-prompt", "aria-hidden": "true" }, "Draw, drop or paste an image");
  const clear = () => {
    prompt.hidden = false;
    context.fillStyle = "#ffffff";
    context.fillRect(0, 0, size, size);
  };
  const changed = () => onPicture(planesOf(shrunk(canvas)));

  const pen = penOn(canvas, {
    style: () => ({ colour, width }),
    onBegin: () => void (prompt.hidden = true),
    onEnd: changed,
  });

  const swatches = Object.entries(colours).map(([name, value]) => {
    const button = element("button", {
      type: "button",
      class: "swatch",
      title: name,
      "aria-label": `Colour: ${name}`,
      "aria-pressed": value === colour,
    });
    button.style.backgroundColor = value;
    button.addEventListener("click", () => {
      colour = value;
      for (const other of swatches) other.setAttribute("aria-pressed", String(other === button));
    });
    return button;
  });
  const brush = element("input", {
    type: "range",
    min: 4,
    max: 60,
    value: width,
    "aria-label": "Line width",
    oninput: () => void (width = Number(brush.value)),
  });
  const file = element("input", {
    type: "file",
    accept: "image/*",
    class: "visually-hidden",
    onchange: () => void (file.files?.[0] && take(file.files[0])),
  });
  const fill = element(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        prompt.hidden = true;
        context.fillStyle = colour;
        context.fillRect(0, 0, size, size);
        changed();
      },
    },
    "Fill",
  );
  const wipe = element("button", { type: "button", class: "quiet", onclick: clear }, "Clear");

  async function take(picture: Blob): Promise<void> {
    const bitmap = await createImageBitmap(picture);
    clear();
    prompt.hidden = true;
    const scale = size / Math.max(bitmap.width, bitmap.height);
    const [w, h] = [bitmap.width * scale, bitmap.height * scale];
    context.imageSmoothingQuality = "high";
    context.drawImage(bitmap, (size - w) / 2, (size - h) / 2, w, h);
    bitmap.close();
    changed();
  }

  clear();
  return {
    take,
    element: element(
      "div",
      { class: "draw" },
      element("div", { class: "pad-frame" }, canvas, prompt, pen),
      element(
        "div",
        { class: "draw-tools" },
        element("div", { class: "swatches", role: "group", "aria-label": "Colours" }, ...swatches),
        brush,
        element("div", { class: "actions" }, fill, wipe, element("label", { class: "button quiet" }, "Image …", file)),
      ),
    ),
  };
}

/** The canvas, scaled down to the size of the sheet's images. */
function shrunk(canvas: HTMLCanvasElement): ImageData {
  const small = new OffscreenCanvas(side, side);
  const context = small.getContext("2d")!;
  context.imageSmoothingQuality = "high";
  context.drawImage(canvas, 0, 0, side, side);
  return context.getImageData(0, 0, side, side);
}
