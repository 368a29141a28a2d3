/** Weights and models as files: downloads, and opening them again. */
import { element } from "../shell/element.ts";
import { bytes } from "../shell/figures.ts";
import { sentences } from "../shell/sentences.ts";

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
  const status = element("p", { class: "search-status", role: "status" });
  const said = async (work: () => Promise<string>) => {
    status.textContent = "Working …";
    status.classList.remove("bad");
    try {
      status.textContent = await work();
    } catch (error) {
      status.textContent = sentences((error as Error).message);
      status.classList.add("bad");
    }
  };
  const write = ({ make, ending }: Download) =>
    said(async () => {
      const made = await make();
      const file = `${name()}${ending}`;
      save(made, file);
      return `${file}, ${bytes(made.length)}`;
    });
  const input = element("input", {
    type: "file",
    accept,
    class: "visually-hidden",
    onchange: () => {
      const file = input.files?.[0];
      input.value = "";
      if (file) void said(() => open(file));
    },
  });
  const view = element(
    "div",
    { class: "files" },
    ...downloads.map((download) =>
      element(
        "div",
        { class: "file" },
        element("div", {}, element("strong", {}, download.title), element("p", {}, download.about)),
        element(
          "button",
          { type: "button", class: "button", "data-ending": download.ending, onclick: () => void write(download) },
          "Download",
        ),
      ),
    ),
    element(
      "div",
      { class: "file" },
      element(
        "div",
        {},
        element("strong", {}, "Open a file"),
        element(
          "p",
          {},
          "Weights of this model, or an ONNX model with the same image and text inputs. Search then uses it.",
        ),
      ),
      element("label", { class: "button" }, "Open …", input),
    ),
    status,
  );
  return { element: view, open: (file) => void said(() => open(file)) };
}

function save(made: Uint8Array, file: string): void {
  const url = URL.createObjectURL(new Blob([new Uint8Array(made)], { type: "application/octet-stream" }));
  const link = element("a", { href: url, download: file });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
