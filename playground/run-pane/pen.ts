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

interface Pen {
  readonly at: () => Place;
  readonly moveTo: (place: Place) => void;
  /** Draws a line from the pen's position, and moves it. */
  readonly strokeTo: (place: Place) => void;
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
export function penOn(canvas: HTMLCanvasElement, options: PenOptions): HTMLElement {
  const mark = element("span", { class: "pen", "aria-hidden": "true" });
  const pen = penWith(canvas, mark, options);
  onPointer(canvas, pen, options.onEnd);
  onKeys(canvas, pen, options.onEnd);
  return mark;
}

function penWith(canvas: HTMLCanvasElement, mark: HTMLElement, { style, onBegin }: PenOptions): Pen {
  const size = canvas.width;
  const context = canvas.getContext("2d")!;
  let at: Place;
  const moveTo = (place: Place) => {
    at = place;
    mark.style.left = `${(100 * at.x) / size}%`;
    mark.style.top = `${(100 * at.y) / size}%`;
  };
  const strokeTo = (place: Place) => {
    onBegin();
    line(context, at, place, style());
    moveTo(place);
  };
  moveTo({ x: size / 2, y: size / 2 });
  return { at: () => at, moveTo, strokeTo };
}

function line(
  context: CanvasRenderingContext2D,
  from: Place,
  to: Place,
  { colour, width }: ReturnType<PenOptions["style"]>,
): void {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  context.moveTo(from.x, from.y);
  context.lineTo(to.x, to.y + 0.01); // a line of no length is not drawn
  context.stroke();
}

function onPointer(canvas: HTMLCanvasElement, pen: Pen, onEnd: () => void): void {
  const under = ({ offsetX, offsetY }: PointerEvent): Place => {
    const scale = canvas.width / canvas.clientWidth;
    return { x: offsetX * scale, y: offsetY * scale };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return; // a second finger, another button
    canvas.setPointerCapture(event.pointerId);
    pen.moveTo(under(event));
    pen.strokeTo(pen.at());
    event.preventDefault();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!canvas.hasPointerCapture(event.pointerId)) return;
    pen.strokeTo(under(event));
    event.preventDefault();
  });
  // After pointerup, and after pointercancel: when a gesture of the system takes a touch over, the stroke ends as well.
  canvas.addEventListener("lostpointercapture", onEnd);
}

/** Arrow keys move the pen, with Shift they draw, and the stroke ends when Shift is released. */
function onKeys(canvas: HTMLCanvasElement, pen: Pen, onEnd: () => void): void {
  let isDrawing = false;
  const bounded = (value: number) => Math.max(0, Math.min(canvas.width, value));
  const end = () => {
    if (isDrawing) onEnd();
    isDrawing = false;
  };
  canvas.addEventListener("keydown", (event) => {
    const by = arrows[event.key];
    if (!by) return;
    event.preventDefault();
    const place = { x: bounded(pen.at().x + by.x), y: bounded(pen.at().y + by.y) };
    if (event.shiftKey) pen.strokeTo(place);
    else pen.moveTo(place);
    isDrawing ||= event.shiftKey;
  });
  canvas.addEventListener("keyup", (event) => event.key === "Shift" && end());
  canvas.addEventListener("blur", end);
}
