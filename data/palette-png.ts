/** PNGs with a palette, whose indices are class numbers in PASCAL VOC's annotations. */
import { crc32 } from "node:zlib";
import { FileError } from "../compiler/index.ts";

const signatureBytes = 8;
/** A chunk's length and type before its data, and its checksum after. */
const [frontBytes, checkBytes] = [8, 4];
/** The place of the colour type in the data of IHDR, and its value for greys. */
const [colourType, grey] = [9, 0];

/**
 * The same PNG as greys: those of an 8-bit palette's pixels are its indices. Decoders apply palettes, so it has to be
 * taken from the file. FileError when the file ends too early.
 */
export function paletteIndices(png: Uint8Array): Uint8Array {
  const bytes = Buffer.from(png);
  const kept = [bytes.subarray(0, signatureBytes)];
  for (let at = signatureBytes, end = at; at < bytes.length; at = end) {
    if (at + frontBytes > bytes.length) throw new FileError("it is cut off");
    end = at + frontBytes + bytes.readUInt32BE(at) + checkBytes;
    if (end > bytes.length) throw new FileError("it is cut off");
    const type = bytes.toString("latin1", at + 4, at + frontBytes);
    if (type === "IHDR") asGrey(bytes.subarray(at, end));
    if (["IHDR", "IDAT", "IEND"].includes(type)) kept.push(bytes.subarray(at, end));
  }
  return Buffer.concat(kept);
}

function asGrey(header: Buffer): void {
  header[frontBytes + colourType] = grey;
  const checked = header.subarray(4, -checkBytes);
  header.writeUInt32BE(crc32(checked), header.length - checkBytes);
}
