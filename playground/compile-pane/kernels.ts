/** The kernels of a program in execution order: what each fuses, its cost, its reads and writes, and its code. */
import type { CompiledAbout, KernelAbout, KernelDetail } from "../machine/compiled.ts";
import { element } from "../shell/element.ts";
import { bytes, short } from "../shell/figures.ts";
import { movedBy } from "../shell/list-keys.ts";
import { type Links, textView } from "./text-view.ts";

export interface KernelsOptions {
  readonly about: CompiledAbout;
  readonly detail: (index: number) => Promise<KernelDetail>;
  readonly links: Links;
}

type View = "wgsl" | "ir" | "nodes";

const views: Readonly<Record<View, string>> = { wgsl: "WGSL", ir: "Kernel IR", nodes: "Fused nodes" };

export function kernels({ about, detail, links }: KernelsOptions): HTMLElement {
  const most = Math.max(1, ...about.kernels.map((k) => k.flops + k.read + k.written));
  const shown = element("div", { class: "detail" });
  let view: View = "wgsl";
  let at = 0;
  const rows = about.kernels.map((kernel, index) => kernelRow(kernel, index));
  const list = element("div", { class: "kernels", role: "listbox", "aria-label": "Kernels", tabindex: -1 }, ...rows);

  function kernelRow(kernel: KernelAbout, index: number): HTMLButtonElement {
    const bar = element("span", { class: "bar" });
    bar.style.width = `${(100 * (kernel.flops + kernel.read + kernel.written)) / most}%`;
    const row = element(
      "button",
      {
        type: "button",
        role: "option",
        class: "kernel",
        "data-lines": kernel.lines.join(","),
        title: kernel.name,
        onclick: () => void choose(index, true),
      },
      element("span", { class: "kernel-number" }, String(index + 1)),
      element("span", { class: "kernel-name" }, ...nameParts(kernel.name)),
      element("span", { class: "kernel-kind" }, kernel.kind.replace("_", " ")),
      element("span", { class: "kernel-cost", "aria-hidden": "true" }, bar),
    );
    row.addEventListener("pointerenter", () => links.point(kernel.lines));
    return row;
  }

  async function choose(index: number, isShown: boolean): Promise<void> {
    at = index;
    for (const [i, row] of rows.entries()) {
      row.setAttribute("aria-selected", String(i === index));
      row.tabIndex = i === index ? 0 : -1;
    }
    const kernel = about.kernels[index]!;
    if (isShown) links.reveal(kernel.lines);
    const found = await detail(index);
    if (at === index) shown.replaceChildren(...kernelDetail(kernel, found));
  }

  function kernelDetail(kernel: KernelAbout, found: KernelDetail): HTMLElement[] {
    const lines = kernel.lines.map((line) =>
      element(
        "button",
        {
          type: "button",
          class: "chip",
          // A click without a position comes from the keyboard.
          onclick: (event: MouseEvent) => links.goTo(line, event.detail === 0),
        },
        `line ${line}`,
      ),
    );
    const code = element("div", { class: "kernel-code" });
    const show = (next: View) => {
      view = next;
      for (const button of choices.children)
        button.setAttribute("aria-pressed", String((button as HTMLElement).dataset.view === view));
      code.replaceChildren(textView(views[view], found[view], links));
    };
    const choices = element(
      "div",
      { class: "segments", role: "group", "aria-label": "View of the kernel" },
      ...(Object.keys(views) as View[]).map((v) =>
        element("button", { type: "button", "data-view": v, onclick: () => show(v) }, views[v]),
      ),
    );
    show(view);
    return [
      element("h3", {}, element("code", {}, kernel.name)),
      element("p", { class: "chips" }, ...lines),
      element(
        "dl",
        { class: "facts" },
        ...fact("schedule", kernel.schedule),
        ...fact("operations", short(kernel.flops)),
        ...fact("reads", bytes(kernel.read)),
        ...fact("writes", bytes(kernel.written)),
        ...fact("workgroups", `${kernel.grid.join(" × ")} of ${kernel.workgroup.join(" × ")} threads`),
      ),
      element(
        "details",
        {},
        element("summary", {}, `${found.buffers.length} buffers`),
        element(
          "dl",
          { class: "facts" },
          ...found.buffers.flatMap(({ tensor, access }) => fact(access === "read" ? "reads" : "writes", tensor)),
        ),
      ),
      ...(found.refused.length === 0
        ? []
        : [
            element(
              "details",
              {},
              element(
                "summary",
                {},
                `${found.refused.length} faster ${found.refused.length === 1 ? "schedule does" : "schedules do"} not fit`,
              ),
              element(
                "dl",
                { class: "facts" },
                ...found.refused.flatMap(({ schedule, reason }) => fact(schedule, reason)),
              ),
            ),
          ]),
      choices,
      code,
    ];
  }

  list.addEventListener("keydown", (event) => {
    const next = movedBy(event.key, at, rows.length);
    if (next === undefined) return;
    void choose(next, true);
    rows[next]!.focus();
    event.preventDefault();
  });
  list.addEventListener("pointerleave", () => links.point([]));
  if (rows.length > 0) void choose(heaviest(about), false);
  return element("div", { class: "split-list" }, list, shown);
}

const heaviest = ({ kernels: all }: CompiledAbout): number =>
  all.reduce((best, k, i) => (k.flops > all[best]!.flops ? i : best), 0);

/** The module path is dimmed relative to the operation. */
function nameParts(name: string): HTMLElement[] {
  const at = name.lastIndexOf("/");
  const path = at < 0 ? [] : [element("span", { class: "path" }, element("bdi", {}, name.slice(0, at + 1)))];
  return [...path, element("span", {}, name.slice(at + 1))];
}

const fact = (name: string, value: string): HTMLElement[] => [element("dt", {}, name), element("dd", {}, value)];
