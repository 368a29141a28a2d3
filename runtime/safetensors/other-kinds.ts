/** Files often mistaken for weights, recognized by their first bytes. */
import { fileError } from "../file-errors.ts";

const convert = "convert it in Python with safetensors.torch.save_file";
const fetchAgain = "download it again, logging in if the site requires it";

interface Kind {
  readonly begins: string;
  readonly what: string;
  readonly hint: string;
}

const kinds: readonly Kind[] = [
  { begins: "version ", what: "a git-lfs pointer, not the file itself", hint: "fetch the file with git lfs pull" },
  { begins: "PK\x03\x04", what: "a zip archive, as torch.save and numpy write", hint: convert },
  { begins: "\x80\x02\x8a\x0a", what: "a Python pickle, as older versions of torch.save write", hint: convert },
  { begins: "\x80\x04\x95", what: "a Python pickle", hint: convert },
  { begins: "GGUF", what: "a GGUF file", hint: "use the safetensors files that it was converted from" },
  { begins: "\x89HDF", what: "an HDF5 file, as Keras writes", hint: convert },
  { begins: "\x1f\x8b\x08", what: "a gzip archive", hint: "unpack it first" },
  ...["<!DOCTYP", "<!doctyp", "<html", "<HTML", "<?xml"].map((begins) => ({
    begins,
    what: "a web page, not the file itself",
    hint: fetchAgain,
  })),
  ...['{"error"', "Entry no", "Invalid "].map((begins) => ({
    begins,
    what: "a server's error message, not the file itself",
    hint: fetchAgain,
  })),
  { begins: "\0".repeat(8), what: "empty at its start, as after a broken download", hint: fetchAgain },
];

/** Throws FileError for a file of one of these kinds, judged by its first 8 bytes. */
export function refuseOtherKinds(path: string, bytes: Uint8Array): void {
  const start = String.fromCharCode(...bytes.subarray(0, 8));
  const kind = kinds.find(({ begins }) => start.startsWith(begins));
  if (kind) throw fileError(path, `it is ${kind.what}`, kind.hint);
}
