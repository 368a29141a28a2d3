/** Images in every way that they are decoded, and segmentation masks. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import sharp from "sharp";
import { HeddleError } from "../../../compiler/index.ts";
import { decodeClasses, decodeGrey, decodeWindow } from "../../../data/images.ts";
import { decodeImage, imageDataUri } from "../../../data/index.ts";
import type { Format } from "./format.ts";

const pixels = Buffer.from(Array.from({ length: 20 * 16 * 3 }, (_, i) => (i * 37) % 256));
const raw = () => sharp(pixels, { raw: { width: 20, height: 16, channels: 3 } });

const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="20" height="16" viewBox="0 0 20 16">
<defs><linearGradient id="g"><stop offset="0" stop-color="#f00"/><stop offset="1" stop-color="#00f"/></linearGradient></defs>
<rect width="20" height="16" fill="url(#g)"/><path d="M2 2 L18 14 L2 14 Z" fill="#0f0" stroke="black" stroke-width="1.5"/>
<use href="#p" x="3" y="4"/><circle id="p" cx="5" cy="5" r="3" opacity=".5"/></svg>`;

const encoded = {
  png: () => raw().png().toBuffer(),
  jpeg: () => raw().jpeg().toBuffer(),
  "jpeg-progressive": () => raw().withMetadata({ orientation: 6 }).jpeg({ progressive: true }).toBuffer(),
  webp: () => raw().webp({ lossless: true }).toBuffer(),
  svg: async () => Buffer.from(svg),
};

/** All ways in which runs decode an image; it is no fault where only some of them accept it. */
async function decodeInAllWays(path: string, isDrawing: boolean): Promise<void> {
  const bytes = readFileSync(path);
  const source = { name: "picture", bytes };
  const ways = [
    ...(["squash", "crop", "pad"] as const).map(
      (fit) => () => decodeImage(source, { size: 8, fit }).then(requirePixels),
    ),
    ...(isDrawing ? [] : [() => decodeWindow(path, { size: 8 }, windowOf).then(requirePixels)]),
    () => decodeGrey(source, 4).then((grey) => requireCount(grey.length, 16)),
    () => imageDataUri(source, 8),
  ];
  const ends = await Promise.allSettled(ways.map((way) => way()));
  const errors = ends.flatMap((end) => (end.status === "rejected" ? [end.reason as unknown] : []));
  const first = errors.find((error) => !(error instanceof HeddleError)) ?? errors[0];
  if (first !== undefined) throw first;
}

const windowOf = ({ width, height }: { readonly width: number; readonly height: number }) => ({
  left: 0,
  top: 0,
  width: Math.max(1, width >> 1),
  height: Math.max(1, height >> 1),
});

const requirePixels = ({ data, channels }: { readonly data: Uint8Array; readonly channels: number }) =>
  requireCount(data.length, 8 * 8 * channels);

function requireCount(found: number, wanted: number): void {
  if (found !== wanted) throw new Error(`${found} values where ${wanted} are wanted`);
}

/** Bytes after the last pixel: checksums and the end marker. */
const trailer = { png: 20, jpeg: 2, "jpeg-progressive": 2, webp: 0 };

const picture = (name: keyof typeof encoded): Format => ({
  name,
  ...(name === "svg" ? {} : { mayLack: trailer[name] }),
  write: async (folder) => {
    writeFileSync(join(folder, "picture"), await encoded[name]());
    return ["picture"];
  },
  read: (folder) => decodeInAllWays(join(folder, "picture"), name === "svg"),
});

const masks: Format = {
  name: "masks",
  mayLack: trailer.png,
  write: async (folder) => {
    const classes = Buffer.from(Array.from({ length: 20 * 16 }, (_, i) => (i * 37) % 150));
    const png = sharp(classes, { raw: { width: 20, height: 16, channels: 1 } })
      .toColourspace("b-w")
      .png();
    writeFileSync(join(folder, "mask.png"), await png.toBuffer());
    return ["mask.png"];
  },
  read: async (folder) => {
    const { width, height, data } = await decodeClasses(join(folder, "mask.png"));
    requireCount(data.length, width * height);
  },
};

export const pictureFormats: readonly Format[] = [
  ...(Object.keys(encoded) as (keyof typeof encoded)[]).map(picture),
  masks,
];
