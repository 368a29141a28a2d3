/** A kernel: its lines in the source, schedule, cost and buffers, and its code in one of several views. */
import type { KernelAbout, KernelDetail } from "../machine/compiled.ts";
import { element } from "../shell/element.ts";
import { bytes, short } from "../shell/figures.ts";
import { type Links, textView } from "./text-view.ts";

export type KernelView = "wgsl" | "ir" | "nodes";

const views: Readonly<Record<KernelView, string>> = { wgsl: "WGSL", ir: "Kernel IR", nodes: "Fused nodes" };

export interface KernelDetailOptions {
  readonly about: KernelAbout;
  readonly detail: KernelDetail;
  readonly links: Links;
  /** The view that is shown first. */
  readonly view: KernelView;
  readonly onView: (view: KernelView) => void;
}

export function kernelDetail(options: KernelDetailOptions): HTMLElement[] {
  const { about, detail, links } = options;
  return [
    element("h3", {}, element("code", {}, about.name)),
    element("p", { class: "chips" }, ...about.lines.map((line) => lineChip(line, links))),
    element("dl", { class: "facts" }, ...factsOf(about)),
    buffersOf(detail),
    ...refusedOf(detail),
    ...codeOf(options),
  ];
}

function lineChip(line: number, links: Links): HTMLElement {
  // A click without a position comes from the keyboard.
  const onclick = (event: MouseEvent) => links.goTo(line, event.detail === 0);
  return element("button", { type: "button", class: "chip", onclick }, `line ${line}`);
}

const fact = (name: string, value: string): HTMLElement[] => [element("dt", {}, name), element("dd", {}, value)];

const factsOf = ({ schedule, flops, read, written, grid, workgroup }: KernelAbout): HTMLElement[] => [
  ...fact("schedule", schedule),
  ...fact("operations", short(flops)),
  ...fact("reads", bytes(read)),
  ...fact("writes", bytes(written)),
  ...fact("workgroups", `${grid.join(" × ")} of ${workgroup.join(" × ")} threads`),
];

/** Facts that are shown on demand. */
const folded = (title: string, facts: readonly HTMLElement[]): HTMLElement =>
  element("details", {}, element("summary", {}, title), element("dl", { class: "facts" }, ...facts));

const buffersOf = ({ buffers }: KernelDetail): HTMLElement =>
  folded(
    `${buffers.length} buffers`,
    buffers.flatMap(({ tensor, access }) => fact(access === "read" ? "reads" : "writes", tensor)),
  );

function refusedOf({ refused }: KernelDetail): HTMLElement[] {
  if (refused.length === 0) return [];
  const title = `${refused.length} faster ${refused.length === 1 ? "schedule does" : "schedules do"} not fit`;
  return [
    folded(
      title,
      refused.flatMap(({ schedule, reason }) => fact(schedule, reason)),
    ),
  ];
}

/** Buttons to choose a view, and the code in it. */
function codeOf({ detail, links, view, onView }: KernelDetailOptions): HTMLElement[] {
  const code = element("div", { class: "kernel-code" });
  const show = (next: KernelView) => {
    for (const button of buttons) button.setAttribute("aria-pressed", String(button.dataset.view === next));
    code.replaceChildren(textView(views[next], detail[next], links));
    onView(next);
  };
  const buttons = (Object.keys(views) as KernelView[]).map((one) =>
    element("button", { type: "button", "data-view": one, onclick: () => show(one) }, views[one]),
  );
  show(view);
  return [element("div", { class: "segments", role: "group", "aria-label": "View of the kernel" }, ...buttons), code];
}
