/** Weights and models as files: downloads, and opening them again. */
import { element } from "../shell/element.ts";
import { bytes } from "../shell/figures.ts";
import { fileButton } from "../shell/file-button.ts";
import { statusLine } from "../shell/status-line.ts";

/** A file that the page can write. */
export interface Download {
  readonly title: string;
  readonly about: string;
  /** The file name's suffix, after the model's name. */
  readonly ending: string;
  readonly make: () => Promise<Uint8Array>;
}

export interface FilesOptions {
  readonly name: () => string;
  readonly downloads: readonly Download[];
  /** Opens a file; returns a description. */
  readonly open: (file: File) => Promise<string>;
  readonly accept: string;
}

export interface FilesView {
  readonly element: HTMLElement;
  /** Opens a file and says what came of it. */
  readonly open: (file: File) => void;
}

export function filesView({ name, downloads, open, accept }: FilesOptions): FilesView {
  const status = statusLine("search-status");
  const said = async (work: () => Promise<string>) => {
    status.say("Working …");
    try {
      status.say(await work());
    } catch (error) {
      status.fail((error as Error).message);
    }
  };
  const write = ({ make, ending }: Download) =>
    said(async () => {
      const made = await make();
      const file = `${name()}${ending}`;
      save(made, file);
      return `${file}, ${bytes(made.length)}`;
    });
  const read = (file: File) => void said(() => open(file));
  const rows = [...downloads.map((one) => downloadRow(one, () => void write(one))), openRow(accept, read)];
  return { element: element("div", { class: "files" }, ...rows, status.element), open: read };
}

const row = (title: string, about: string, action: HTMLElement): HTMLElement =>
  element("div", { class: "file" }, element("div", {}, element("strong", {}, title), element("p", {}, about)), action);

function downloadRow({ title, about, ending }: Download, onclick: () => void): HTMLElement {
  const attributes = { type: "button", class: "button", "data-ending": ending, onclick };
  return row(title, about, element("button", attributes, "Download"));
}

function openRow(accept: string, onFile: (file: File) => void): HTMLElement {
  const about = "Weights of this model, or an ONNX model with the same image and text inputs. Search then uses it.";
  return row("Open a file", about, fileButton("Open …", { class: "button", accept, onFile }));
}

function save(made: Uint8Array, file: string): void {
  const url = URL.createObjectURL(new Blob([new Uint8Array(made)], { type: "application/octet-stream" }));
  const link = element("a", { href: url, download: file });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
