/** Splitters between the panes, moved by dragging or arrow keys. */
import { remembered } from "./remembered.ts";

const kept = remembered<readonly number[]>("columns", [1.3, 1.1, 1]);

/** Minimum share of a pane. */
const least = 0.45;

/** `borders` separate the columns of `grid`, whose shares are custom properties. */
export function splitters(grid: HTMLElement, borders: readonly HTMLElement[]): void {
  const shares = [...kept.get()];
  const show = () => {
    for (const [i, share] of shares.entries()) grid.style.setProperty(`--column-${i}`, `${share}fr`);
    for (const [i, border] of borders.entries())
      border.setAttribute("aria-valuenow", String(Math.round((100 * shares[i]!) / (shares[i]! + shares[i + 1]!))));
  };
  const move = (border: number, by: number) => {
    const bounded = Math.max(least - shares[border]!, Math.min(shares[border + 1]! - least, by));
    shares[border]! += bounded;
    shares[border + 1]! -= bounded;
    show();
    kept.set(shares);
  };
  for (const [i, border] of borders.entries()) {
    border.tabIndex = 0;
    border.setAttribute("aria-orientation", "vertical");
    border.addEventListener("pointerdown", (event) => {
      border.setPointerCapture(event.pointerId);
      event.preventDefault();
    });
    border.addEventListener("pointermove", (event) => {
      if (!border.hasPointerCapture(event.pointerId)) return;
      const all = shares.reduce((a, b) => a + b, 0);
      move(i, (event.movementX / grid.clientWidth) * all);
    });
    border.addEventListener("keydown", (event) => {
      const by = { ArrowLeft: -0.05, ArrowRight: 0.05 }[event.key];
      if (by !== undefined) move(i, by);
    });
  }
  show();
}
