/** Images of the sheet as elements, with attention maps. */
import { type PackedEmoji, placeOf, side } from "../machine/packed-emoji.ts";
import { element } from "../shell/element.ts";

/** The emoji data in the page. */
export interface Pack extends Omit<PackedEmoji, "tokenizer"> {
  /** The URL of the sheet. */
  readonly sheet: string;
}

/** An artist's image; its size comes from a custom property of the style. */
export function thumbnail(pack: Pack, emoji: number, artist: number, attention?: Float32Array): HTMLElement {
  const { x, y } = placeOf({ ...pack, tokenizer: {} }, emoji, artist);
  const { characters, texts } = pack.emoji[emoji]!;
  const name = texts.en?.[0] ?? characters;
  const picture = element("span", {
    class: "thumbnail",
    role: "img",
    "aria-label": `${name}, ${pack.artists[artist]}`,
    title: name,
  });
  picture.style.backgroundImage = `url("${pack.sheet}")`;
  picture.style.setProperty("--x", String(-x / side));
  picture.style.setProperty("--y", String(-y / side));
  picture.style.setProperty("--sheet", String(pack.columns));
  if (attention) picture.append(attentionMap(attention));
  return picture;
}

/** Attention per patch as an overlay: unattended patches are darkened. */
export function attentionMap(attention: Float32Array): HTMLCanvasElement {
  const size = Math.round(Math.sqrt(attention.length));
  const canvas = element("canvas", { class: "attention", width: size, height: size, "aria-hidden": "true" });
  const context = canvas.getContext("2d")!;
  const image = context.createImageData(size, size);
  const most = Math.max(...attention);
  for (const [i, value] of attention.entries()) {
    image.data.set([20, 18, 40], 4 * i);
    image.data[4 * i + 3] = 205 * (1 - value / most);
  }
  context.putImageData(image, 0, 0);
  return canvas;
}
