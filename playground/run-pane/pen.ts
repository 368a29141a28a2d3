/** A pen on a canvas, moved by a pointer or by arrow keys. */
import { element } from "../shell/element.ts";

export interface PenOptions {
  readonly style: () => { readonly colour: string; readonly width: number };
  /** Called before something is drawn. */
  readonly onBegin: () => void;
  /** Called when a stroke ends. */
  readonly onEnd: () => void;
}

/** A position on a square canvas, in its pixels. */
interface Place {
  readonly x: number;
  readonly y: number;
}

/** How far an arrow key moves the pen, in pixels of the canvas. */
const step = 8;

const arrows: Readonly<Record<string, Place>> = {
  ArrowLeft: { x: -step, y: 0 },
  ArrowRight: { x: step, y: 0 },
  ArrowUp: { x: 0, y: -step },
  ArrowDown: { x: 0, y: step },
};

/** Makes a square canvas drawable; returns a mark for the pen's position, to be laid over the canvas. */
export function penOn(canvas: HTMLCanvasElement, { style, onBegin, onEnd }: PenOptions): HTMLElement {
  const size = canvas.width;
  const context = canvas.getContext("2d")!;
  const mark = element("span", { class: "pen", "aria-hidden": "true" });
  let at: Place = { x: size / 2, y: size / 2 };

  function moveTo(place: Place): void {
    at = place;
    mark.style.left = `${(100 * at.x) / size}%`;
    mark.style.top = `${(100 * at.y) / size}%`;
  }

  function strokeTo(place: Place): void {
    onBegin();
    const { colour, width } = style();
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.lineCap = context.lineJoin = "round";
    context.beginPath();
    context.moveTo(at.x, at.y);
    context.lineTo(place.x, place.y + 0.01); // a line of no length is not drawn
    context.stroke();
    moveTo(place);
  }

  const under = ({ offsetX, offsetY }: PointerEvent): Place => {
    const scale = size / canvas.clientWidth;
    return { x: offsetX * scale, y: offsetY * scale };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return; // a second finger, another button
    canvas.setPointerCapture(event.pointerId);
    moveTo(under(event));
    strokeTo(at);
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    strokeTo(under(event));
    event.preventDefault();
  });
  // After pointerup, and after pointercancel: when a gesture of the system takes a touch over, the stroke ends as well.
  canvas.addEventListener("lostpointercapture", onEnd);

  let isDrawing = false; // with the keyboard
  const end = () => {
    if (isDrawing) onEnd();
    isDrawing = false;
  };
  canvas.addEventListener("keydown", (event) => {
    const by = arrows[event.key];
    if (!by) return;
    event.preventDefault();
    const bounded = (value: number) => Math.max(0, Math.min(size, value));
    const place = { x: bounded(at.x + by.x), y: bounded(at.y + by.y) };
    if (event.shiftKey) strokeTo(place);
    else moveTo(place);
    isDrawing ||= event.shiftKey;
  });
  canvas.addEventListener("keyup", (event) => event.key === "Shift" && end());
  canvas.addEventListener("blur", end);
  moveTo(at);
  return mark;
}
