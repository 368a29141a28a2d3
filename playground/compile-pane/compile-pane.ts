/** The second pane: the compiled model. */

import type { CompileService } from "../machine/compile-worker.ts";
import type { CompiledAbout, TextLine } from "../machine/compiled.ts";
import type { ModelAbout, Subject } from "../machine/model.ts";
import { element } from "../shell/element.ts";
import type { Client } from "../shell/rpc.ts";
import { tabs } from "../shell/tabs.ts";
import { kernels } from "./kernels.ts";
import { overview } from "./overview.ts";
import { passes } from "./passes.ts";
import { type Links, markLines, textView } from "./text-view.ts";

type Tab = "overview" | "graph" | "passes" | "kernels";

export interface CompilePane {
  /** Shows a compilation, whose texts the worker holds. */
  readonly show: (model: ModelAbout, about: CompiledAbout, worker: Client<CompileService>) => void;
  /** Shows what is wrong with the module; none hides what was shown. The result stays below. */
  readonly faults: (faults: readonly Fault[]) => void;
  /** Marks the result as that of an earlier text, until the next is shown. */
  readonly stale: () => void;
  /** Says what is being done; also in place of a result, as long as there has been none. */
  readonly busy: (text: string) => void;
  /** Marks what originates from a line of the editor. */
  readonly mark: (line: number) => void;
  readonly subject: () => { readonly subject: Subject; readonly batch: number };
}

export interface Fault {
  readonly title: string;
  readonly text: string;
}

export interface CompilePaneOptions {
  readonly parent: HTMLElement;
  readonly links: Links;
  /** Called when something else is to be compiled. */
  readonly onAsk: () => void;
}

export function compilePane({ parent, links, onAsk }: CompilePaneOptions): CompilePane {
  const panels = { overview: panel(), graph: panel(), passes: panel(), kernels: panel() };
  let current:
    | { readonly about: CompiledAbout; readonly worker: Client<CompileService>; readonly model: ModelAbout }
    | undefined;
  let tab: Tab = "overview";
  let stage: string | undefined;
  const filled = new Set<Tab>();
  const subject = element("select", { "aria-label": "Graph to compile", onchange: onAsk });
  const batch = element("input", {
    type: "number",
    min: 1,
    max: 4096,
    value: 16,
    "aria-label": "Batch",
    onchange: onAsk,
  });
  const status = element("p", { class: "pane-status", role: "status" });
  const fault = element("div", { class: "fault", hidden: true, role: "alert", tabindex: 0 });
  const waiting = element("p", { class: "waiting" });
  panels.overview.append(waiting); // the first result replaces it
  const bar = tabs<Tab>(
    "Compiled",
    [
      { id: "overview", title: "Overview", panel: panels.overview },
      { id: "graph", title: "Graph", panel: panels.graph },
      { id: "passes", title: "Passes", panel: panels.passes },
      { id: "kernels", title: "Kernels", panel: panels.kernels },
    ],
    (id) => {
      tab = id;
      void fill();
    },
  );
  parent.append(
    element(
      "div",
      { class: "pane-head" },
      element("h2", {}, "Compiled"),
      element("label", { class: "field" }, subject),
      element("label", { class: "field short" }, "batch", batch),
      status,
    ),
    bar.list,
    fault,
    ...Object.values(panels),
  );

  /** Fills the open tab on demand. */
  async function fill(): Promise<void> {
    if (!current || filled.has(tab)) return;
    const { about, worker, model } = current;
    filled.add(tab);
    const made = await contentOf(tab, about, worker, model);
    if (current?.about === about) panels[tab === "graph" ? "graph" : tab].replaceChildren(made);
  }

  async function contentOf(
    of: Tab,
    about: CompiledAbout,
    worker: Client<CompileService>,
    model: ModelAbout,
  ): Promise<HTMLElement> {
    if (of === "overview") return overview(about, model);
    if (of === "graph") return textView("Graph", (await worker.call.graph()) as readonly TextLine[], links);
    if (of === "kernels") return kernels({ about, detail: (i) => worker.call.kernel(i), links });
    return passes({
      about,
      text: (i) => worker.call.stage(i),
      links,
      chosen: stage,
      onChoose: (name) => void (stage = name),
    });
  }

  return {
    show: (model, about, worker) => {
      parent.classList.remove("stale");
      offer(subject, model);
      current = { model, about, worker };
      filled.clear();
      bar.badge("graph", String(about.nodes));
      bar.badge("passes", String(about.stages.filter((s) => s.changed).length));
      bar.badge("kernels", String(about.kernels.length));
      void fill();
    },
    faults: (faults) => {
      fault.hidden = faults.length === 0;
      fault.replaceChildren(
        ...faults.map(({ title, text }) =>
          element("section", {}, element("strong", {}, title), element("pre", {}, text)),
        ),
      );
    },
    stale: () => parent.classList.add("stale"),
    busy: (text) => {
      status.textContent = text;
      waiting.textContent = text;
    },
    mark: (line) => {
      for (const [id, view] of Object.entries(panels)) markLines(view, line, id === tab);
    },
    subject: () => ({ subject: subjectOf(subject.value), batch: Math.max(1, Math.round(Number(batch.value)) || 1) }),
  };
}

const panel = (): HTMLElement => element("div", { class: "panel" });

/** Lists what can be compiled for a model, keeping the selection if it still exists. */
function offer(select: HTMLSelectElement, { stages, graphs }: ModelAbout): void {
  const all = [
    { value: "graph", text: "Forward pass" },
    ...stages.map(({ name }) => ({ value: `stage:${name}`, text: `Training step, ${name}` })),
    ...graphs.map(({ name }) => ({ value: `graph:${name}`, text: `Graph ${name}` })),
  ];
  const before = select.value;
  select.replaceChildren(...all.map(({ value, text }) => element("option", { value }, text)));
  if (all.some(({ value }) => value === before)) select.value = before;
}

function subjectOf(value: string): Subject {
  const [kind, name] = value.split(":");
  if (kind === "stage") return { kind: "stage", name: name! };
  return { kind: "graph", ...(name !== undefined && { name }) };
}
