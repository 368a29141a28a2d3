/** Folders as parts: images with captions, one folder per class, images with segmentation masks. */
import { existsSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { basename, dirname, join, parse } from "node:path";
import { FileError } from "../../compiler/index.ts";
import { listFolder, type OnSkip } from "../files.ts";
import { captioned, captionFiles, imageExtensions, otherImageExtensions } from "../folders.ts";
import type { Part } from "./source.ts";

/** The images in a folder of captions, with their caption files. */
export async function captionedFiles(folder: string): Promise<readonly string[]> {
  const names = await listFolder(folder, "image folder");
  const texts = captionFiles(names);
  const files = names.filter(isPicture).flatMap((picture) => [picture, texts.of(picture) ?? picture]);
  return [...new Set(files)].map((name) => join(folder, name));
}

export const isPicture = (name: string) => imageExtensions.includes(parse(name).ext.toLowerCase());
export const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** Reports the images in a folder that are in a format which is not read. */
function tellOtherFormats(folder: string, names: readonly string[], onSkip: OnSkip): void {
  const reason = `an image must be one of ${imageExtensions.join(", ")}: convert it`;
  for (const name of names)
    if (otherImageExtensions.includes(parse(name).ext.toLowerCase())) onSkip({ name: join(folder, name), reason });
}

/** cat.jpg beside cat.txt, with one caption per line. */
export async function openCaptions(folder: string, language: string, onSkip: OnSkip): Promise<Part> {
  const names = await listFolder(folder, "image folder");
  tellOtherFormats(folder, names, onSkip);
  const texts = captionFiles(names);
  const pictures = names.filter(isPicture);
  return {
    count: pictures.length,
    name: (index) => join(folder, pictures[index]!),
    read: async (index) => {
      const picture = pictures[index]!;
      const item = await captioned(folder, picture, texts, language);
      const name = join(folder, picture);
      return { name, group: join(folder, item.group), image: name, texts: item.texts, fields: {} };
    },
  };
}

/** The subfolders that contain images, in name order: each is a class. Others but hidden ones are reported. */
export async function classFolders(folder: string, onSkip?: OnSkip): Promise<readonly string[]> {
  const names = (await listFolder(folder, "folder of classes")).filter((name) => isFolder(join(folder, name)));
  const holds = await Promise.all(names.map(async (name) => (await readdir(join(folder, name))).some(isPicture)));
  for (const name of names.filter((name, i) => !holds[i] && !name.startsWith(".")))
    onSkip?.({ name: join(folder, name), reason: "the class folder has no images; subfolders are not searched" });
  return names.filter((_, i) => holds[i]);
}

/** root/class/image, the layout of ImageNet. */
async function picturesOfClasses(folder: string, onSkip?: OnSkip) {
  const classes = await classFolders(folder, onSkip);
  const listed = await Promise.all(
    classes.map(async (className) => {
      const names = await listFolder(join(folder, className), "class folder");
      if (onSkip) tellOtherFormats(join(folder, className), names, onSkip);
      return names.filter(isPicture).map((name) => ({ className, path: join(folder, className, name) }));
    }),
  );
  return listed.flat();
}

export const classFiles = async (folder: string): Promise<readonly string[]> =>
  (await picturesOfClasses(folder)).map(({ path }) => path);

export async function openClasses(folder: string, onSkip: OnSkip): Promise<Part> {
  for (const name of (await listFolder(folder, "folder of classes")).filter(isPicture))
    onSkip({ name: join(folder, name), reason: "it lies beside the folders of classes, in none of them" });
  const pictures = await picturesOfClasses(folder, onSkip);
  return {
    count: pictures.length,
    name: (index) => pictures[index]!.path,
    read: async (index) => {
      const { className, path } = pictures[index]!;
      return { name: path, group: path, image: path, className, fields: {} };
    },
  };
}

/** The folders of images and of their annotations, with the same structure. */
interface Masked {
  readonly images: string;
  readonly annotations: string;
}

/**
 * root/images with root/annotations, the layout of ADE20K: for root itself, or for a folder below its images
 * (images/training).
 */
function maskedFolder(folder: string): Masked | undefined {
  const own = masksOf(folder, "");
  if (own) return own;
  for (let [at, below] = [folder, ""]; dirname(at) !== at; [at, below] = [dirname(at), join(basename(at), below)]) {
    const found = basename(at) === "images" ? masksOf(dirname(at), below) : undefined;
    if (found) return found;
  }
  return undefined;
}

function masksOf(root: string, below: string): Masked | undefined {
  const [images, annotations] = [join(root, "images"), join(root, "annotations")];
  if (!isFolder(images) || !isFolder(annotations)) return undefined;
  return { images: join(images, below), annotations: join(annotations, below) };
}

export const hasMasks = (folder: string): boolean => maskedFolder(folder) !== undefined;

interface MaskedPicture {
  readonly picture: string;
  /** May not exist. */
  readonly mask: string;
}

/** images/a.jpg with annotations/a.png, including subfolders. */
async function maskedPictures(folder: string): Promise<readonly MaskedPicture[]> {
  const { images, annotations } = maskedFolder(folder)!;
  const pictures = (await readdir(images, { recursive: true })).filter(isPicture).sort();
  return pictures.map((picture) => {
    const { dir, name } = parse(picture);
    return { picture: join(images, picture), mask: join(annotations, dir, `${name}.png`) };
  });
}

export const maskFiles = async (folder: string): Promise<readonly string[]> =>
  (await maskedPictures(folder)).flatMap(({ picture, mask }) => [picture, mask]);

export async function openMasks(folder: string, onSkip: OnSkip): Promise<Part> {
  const { images } = maskedFolder(folder)!;
  tellOtherFormats(images, await readdir(images, { recursive: true }), onSkip);
  const pictures = await maskedPictures(folder);
  return {
    count: pictures.length,
    name: (index) => pictures[index]!.picture,
    read: async (index) => {
      const { picture, mask } = pictures[index]!;
      if (!existsSync(mask)) throw new FileError(`it has no mask "${mask}"`);
      return { name: picture, group: picture, image: picture, mask, fields: {} };
    },
  };
}
