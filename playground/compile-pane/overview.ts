/** A summary of a compilation in numbers: parameters, operations, memory, and op counts. */
import type { CompiledAbout } from "../machine/compiled.ts";
import type { ModelAbout } from "../machine/model.ts";
import { element } from "../shell/element.ts";
import { bytes, milliseconds, short } from "../shell/figures.ts";

export function overview(about: CompiledAbout, model: ModelAbout): HTMLElement {
  const total = (of: Readonly<Record<string, number>>) => Object.values(of).reduce((a, b) => a + b, 0);
  return element(
    "div",
    { class: "overview" },
    element("p", { class: "summary" }, model.summary),
    element(
      "dl",
      { class: "figures" },
      ...figure("Parameters", short(about.parameters), `${model.tensors.length} tensors`),
      ...figure("Operations", short(total(about.operations)), `${short(about.macs)} multiply-adds`),
      ...figure("Memory", bytes(total(about.memory)), "on the device"),
      ...figure("Traffic", bytes(about.read + about.written), `${bytes(about.written)} written`),
      ...figure("Kernels", String(about.kernels.length), `from ${short(about.nodes)} nodes`),
      ...figure("Compiled in", milliseconds(about.milliseconds), `${about.stages.length} stages`),
    ),
    bars("Parameters by part", about.byGroup, short),
    bars("Operations", about.operations, short),
    bars("Memory", about.memory, bytes),
    bars("Nodes by op", firstOf(about.ops, 10), String),
    element("h3", {}, "Inputs and outputs"),
    element(
      "ul",
      { class: "types" },
      ...model.inputs.map((text) =>
        element("li", {}, element("span", { class: "way" }, "in"), element("code", {}, text)),
      ),
      ...model.outputs.map((text) =>
        element("li", {}, element("span", { class: "way" }, "out"), element("code", {}, text)),
      ),
    ),
  );
}

const figure = (name: string, value: string, more: string): HTMLElement[] => [
  element(
    "div",
    {},
    element("dt", {}, name),
    element("dd", {}, element("strong", {}, value), element("span", {}, more)),
  ),
];

/** A table whose rows have bars proportional to their values. */
function bars(title: string, of: Readonly<Record<string, number>>, text: (value: number) => string): HTMLElement {
  const rows = Object.entries(of).filter(([, value]) => value > 0);
  const most = Math.max(...rows.map(([, value]) => value));
  if (rows.length < 2) return element("div", { hidden: true });
  return element(
    "section",
    {},
    element("h3", {}, title),
    element(
      "table",
      { class: "bars" },
      element(
        "tbody",
        {},
        ...rows.map(([name, value]) => {
          const bar = element("span", { class: "bar" });
          bar.style.width = `${(100 * value) / most}%`;
          return element(
            "tr",
            {},
            element("th", { scope: "row" }, name),
            element("td", { class: "bar-cell", "aria-hidden": "true" }, bar),
            element("td", { class: "number" }, text(value)),
          );
        }),
      ),
    ),
  );
}

const firstOf = (of: Readonly<Record<string, number>>, count: number) =>
  Object.fromEntries(Object.entries(of).slice(0, count));
