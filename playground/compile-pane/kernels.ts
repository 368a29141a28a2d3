/** The kernels of a program in execution order: what each fuses, its cost, its reads and writes, and its code. */
import type { CompiledAbout, KernelAbout, KernelDetail } from "../machine/compiled.ts";
import { choiceList, newest } from "../shell/choice-list.ts";
import { element } from "../shell/element.ts";
import { type KernelView, kernelDetail } from "./kernel-detail.ts";
import type { Links } from "./text-view.ts";

export interface KernelsOptions {
  readonly about: CompiledAbout;
  readonly detail: (index: number) => Promise<KernelDetail>;
  readonly links: Links;
}

export function kernels({ about: { kernels: all }, detail, links }: KernelsOptions): HTMLElement {
  const shown = element("div", { class: "detail" });
  let view: KernelView = "wgsl"; // kept from kernel to kernel
  const showDetail = newest<readonly [KernelAbout, KernelDetail]>(([about, found]) =>
    shown.replaceChildren(...kernelDetail({ about, detail: found, links, view, onView: (next) => void (view = next) })),
  );
  const list = choiceList({
    label: "Kernels",
    class: "kernels",
    items: rowsOf(all, links),
    onChoose: (index, isByPerson) => {
      const about = all[index]!;
      if (isByPerson) links.reveal(about.lines);
      void showDetail(detail(index).then((found) => [about, found]));
    },
  });
  list.element.addEventListener("pointerleave", () => links.point([]));
  if (all.length > 0) list.choose(heaviest(all));
  return element("div", { class: "split-list" }, list.element, shown);
}

const heaviest = (all: readonly KernelAbout[]): number =>
  all.reduce((best, k, i) => (k.flops > all[best]!.flops ? i : best), 0);

const costOf = ({ flops, read, written }: KernelAbout): number => flops + read + written;

function rowsOf(all: readonly KernelAbout[], links: Links): HTMLButtonElement[] {
  const most = Math.max(1, ...all.map(costOf));
  return all.map((kernel, index) => {
    const row = rowOf(kernel, index + 1, costOf(kernel) / most);
    row.addEventListener("pointerenter", () => links.point(kernel.lines));
    return row;
  });
}

/** `share` is its cost relative to the greatest. */
function rowOf({ name, kind, lines }: KernelAbout, number: number, share: number): HTMLButtonElement {
  const bar = element("span", { class: "bar" });
  bar.style.width = `${100 * share}%`;
  return element(
    "button",
    { type: "button", class: "kernel", "data-lines": lines.join(","), title: name },
    element("span", { class: "kernel-number" }, String(number)),
    element("span", { class: "kernel-name" }, ...nameParts(name)),
    element("span", { class: "kernel-kind" }, kind.replace("_", " ")),
    element("span", { class: "kernel-cost", "aria-hidden": "true" }, bar),
  );
}

/** The module path is dimmed relative to the operation. */
function nameParts(name: string): HTMLElement[] {
  const at = name.lastIndexOf("/");
  const path = at < 0 ? [] : [element("span", { class: "path" }, element("bdi", {}, name.slice(0, at + 1)))];
  return [...path, element("span", {}, name.slice(at + 1))];
}
