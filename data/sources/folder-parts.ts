/** Folders: captions beside pictures, classes as folders, class numbers of pixels beside pictures. */
import { existsSync, statSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join, parse } from "node:path";
import { FileError } from "../../compiler/index.ts";
import { listFolder } from "../files.ts";
import { captioned, captionFiles, imageExtensions } from "../folders.ts";
import type { Part } from "./source.ts";

/** The pictures of a folder of captions, and the captions beside them. */
export async function captionedFiles(folder: string): Promise<readonly string[]> {
  const names = await listFolder(folder, "image folder");
  const texts = captionFiles(names);
  const files = names.filter(isPicture).flatMap((picture) => [picture, texts.of(picture) ?? picture]);
  return [...new Set(files)].map((name) => join(folder, name));
}

export const isPicture = (name: string) => imageExtensions.includes(parse(name).ext.toLowerCase());
const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;

/** cat.jpg beside cat.txt, each line of which is a caption of its own. */
export async function openCaptions(folder: string, language: string): Promise<Part> {
  const names = await listFolder(folder, "image folder");
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

/** The folders of a folder that hold pictures, in name order: each is a class. */
export async function classFolders(folder: string): Promise<readonly string[]> {
  const names = (await listFolder(folder, "folder of classes")).filter((name) => isFolder(join(folder, name)));
  const holds = await Promise.all(names.map(async (name) => (await readdir(join(folder, name))).some(isPicture)));
  return names.filter((_, i) => holds[i]);
}

/** root/class/picture, as ImageNet is laid out. */
async function picturesOfClasses(folder: string) {
  const classes = await classFolders(folder);
  const listed = await Promise.all(
    classes.map(async (className) => {
      const names = (await listFolder(join(folder, className), "class folder")).filter(isPicture);
      return names.map((name) => ({ className, path: join(folder, className, name) }));
    }),
  );
  return listed.flat();
}

export const classFiles = async (folder: string): Promise<readonly string[]> =>
  (await picturesOfClasses(folder)).map(({ path }) => path);

export async function openClasses(folder: string): Promise<Part> {
  const pictures = await picturesOfClasses(folder);
  return {
    count: pictures.length,
    name: (index) => pictures[index]!.path,
    read: async (index) => {
      const { className, path } = pictures[index]!;
      return { name: path, group: path, image: path, className, fields: {} };
    },
  };
}

export const hasMasks = (folder: string) => isFolder(join(folder, "images")) && isFolder(join(folder, "annotations"));

/** images/a.jpg with annotations/a.png, as ADE20K is laid out; also in folders below (images/training). */
const maskedPictures = async (folder: string): Promise<readonly string[]> =>
  (await readdir(join(folder, "images"), { recursive: true })).filter(isPicture).sort();

const maskPath = (folder: string, picture: string): string => {
  const { dir, name } = parse(picture);
  return join(folder, "annotations", dir, `${name}.png`);
};

/** The pictures of such a folder, each with its annotation, which may not be there. */
export const maskFiles = async (folder: string): Promise<readonly string[]> =>
  (await maskedPictures(folder)).flatMap((picture) => [join(folder, "images", picture), maskPath(folder, picture)]);

export async function openMasks(folder: string): Promise<Part> {
  const pictures = await maskedPictures(folder);
  return {
    count: pictures.length,
    name: (index) => join(folder, "images", pictures[index]!),
    read: async (index) => {
      const picture = pictures[index]!;
      const path = join(folder, "images", picture);
      const mask = maskPath(folder, picture);
      if (!existsSync(mask)) throw new FileError(`it has no annotation "${mask}"`);
      return { name: path, group: path, image: path, mask, fields: {} };
    },
  };
}
