/** What one draws with: colours, line width, and buttons to fill and clear the drawing or choose an image. */
import { element } from "../shell/element.ts";
import { fileButton } from "../shell/file-button.ts";

export interface DrawTools {
  readonly element: HTMLElement;
  readonly style: () => { readonly colour: string; readonly width: number };
}

export interface DrawToolsOptions {
  readonly onFill: () => void;
  readonly onClear: () => void;
  readonly onImage: (file: File) => void;
}

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

export function drawTools({ onFill, onClear, onImage }: DrawToolsOptions): DrawTools {
  let colour: string = colours.yellow;
  const brush = element("input", { type: "range", min: 4, max: 60, value: 14, "aria-label": "Line width" });
  return {
    style: () => ({ colour, width: Number(brush.value) }),
    element: element(
      "div",
      { class: "draw-tools" },
      swatches(colour, (next) => void (colour = next)),
      brush,
      element(
        "div",
        { class: "actions" },
        button("Fill", onFill),
        button("Clear", onClear),
        fileButton("Image …", { class: "button quiet", accept: "image/*", onFile: onImage }),
      ),
    ),
  };
}

/** A button for each colour, one of which is pressed. */
function swatches(first: string, onChoose: (colour: string) => void): HTMLElement {
  const buttons = Object.entries(colours).map(([name, value]) => {
    const swatch = element("button", {
      type: "button",
      class: "swatch",
      title: name,
      "aria-label": `Colour: ${name}`,
      "aria-pressed": value === first ? "true" : "false",
      onclick: () => {
        for (const other of buttons) other.setAttribute("aria-pressed", String(other === swatch));
        onChoose(value);
      },
    });
    swatch.style.backgroundColor = value;
    return swatch;
  });
  return element("div", { class: "swatches", role: "group", "aria-label": "Colours" }, ...buttons);
}

const button = (text: string, onclick: () => void): HTMLElement =>
  element("button", { type: "button", class: "quiet", onclick }, text);
