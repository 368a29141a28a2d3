/** The second pane: the compiled model. */

import type { NumberedAbout } from "../machine/compilations.ts";
import type { CompileService } from "../machine/compile-worker.ts";
import type { CompiledAbout } from "../machine/compiled.ts";
import type { ModelAbout, Subject } from "../machine/model.ts";
import { element } from "../shell/element.ts";
import { type Client, faultOf } from "../shell/rpc.ts";
import { tabs } from "../shell/tabs.ts";
import { kernels } from "./kernels.ts";
import { overview } from "./overview.ts";
import { passes } from "./passes.ts";
import { subjectForm } from "./subject-form.ts";
import { type Links, markLines, textView } from "./text-view.ts";

export interface CompilePane {
  /** Shows a compilation, whose texts the worker holds. */
  readonly show: (model: ModelAbout, about: NumberedAbout, worker: Client<CompileService>) => void;
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

type Tab = "overview" | "graph" | "passes" | "kernels";

const titles: Readonly<Record<Tab, string>> = {
  overview: "Overview",
  graph: "Graph",
  passes: "Passes",
  kernels: "Kernels",
};

/** A compilation, whose texts the worker holds. */
interface Result {
  readonly model: ModelAbout;
  readonly about: NumberedAbout;
  readonly worker: Client<CompileService>;
}

interface State {
  result: Result | undefined;
  tab: Tab;
  /** The stage selected in the list of passes, which stays selected in the next result. */
  stage: string | undefined;
  /** Tabs that show the present result: each is filled when it is first opened. */
  readonly filled: Set<Tab>;
}

export function compilePane({ parent, links, onAsk }: CompilePaneOptions): CompilePane {
  const state: State = { result: undefined, tab: "overview", stage: undefined, filled: new Set() };
  const parts = partsOf(onAsk, (tab) => {
    state.tab = tab;
    void fill(state, parts, links);
  });
  parent.append(...parts.elements);
  return {
    show: (model, about, worker) => {
      parent.classList.remove("stale");
      state.result = { model, about, worker };
      worker.call.show(about.number).catch(() => {}); // if the worker was stopped, the tabs say so
      state.filled.clear();
      parts.form.offer(model);
      showCounts(parts, about);
      void fill(state, parts, links);
    },
    faults: (faults) => showFaults(parts.fault, faults),
    stale: () => parent.classList.add("stale"),
    busy: (text) => {
      parts.status.textContent = text;
      parts.waiting.textContent = text;
    },
    mark: (line) => {
      for (const [id, view] of Object.entries(parts.panels)) markLines(view, line, id === state.tab);
    },
    subject: parts.form.subject,
  };
}

type Parts = ReturnType<typeof partsOf>;

function partsOf(onAsk: () => void, onTab: (tab: Tab) => void) {
  const form = subjectForm(onAsk);
  const status = element("p", { class: "pane-status", role: "status" });
  const head = element("div", { class: "pane-head" }, element("h2", {}, "Compiled"), ...form.elements, status);
  const fault = element("div", { class: "fault", hidden: true, role: "alert", tabindex: 0 });
  const waiting = element("p", { class: "waiting" });
  const panel = (...content: HTMLElement[]) => element("div", { class: "panel" }, ...content);
  // The first result replaces what says that it is waited for.
  const panels: Readonly<Record<Tab, HTMLElement>> = {
    overview: panel(waiting),
    graph: panel(),
    passes: panel(),
    kernels: panel(),
  };
  const ids = Object.keys(titles) as Tab[];
  const bar = tabs<Tab>(
    "Compiled",
    ids.map((id) => ({ id, title: titles[id], panel: panels[id] })),
    onTab,
  );
  return { elements: [head, bar.list, fault, ...Object.values(panels)], form, status, fault, waiting, panels, bar };
}

/** Fills the open tab on demand; says why it cannot, such as that the worker was stopped. */
async function fill(state: State, { panels }: Parts, links: Links): Promise<void> {
  const { result, tab, filled } = state;
  if (!result || filled.has(tab)) return;
  filled.add(tab);
  try {
    const made = await contents[tab](result, links, state);
    if (state.result === result) panels[tab].replaceChildren(made);
  } catch (error) {
    if (state.result !== result) return;
    filled.delete(tab);
    panels[tab].replaceChildren(element("p", { class: "waiting" }, faultOf(error).message));
  }
}

/** What each tab shows of a result. */
const contents: Readonly<
  Record<Tab, (result: Result, links: Links, state: State) => HTMLElement | Promise<HTMLElement>>
> = {
  overview: ({ about, model }) => overview(about, model),
  graph: async ({ about, worker }, links) => textView("Graph", await worker.call.graph(about.number), links),
  passes: ({ about, worker }, links, state) =>
    passes({
      about,
      text: (i) => worker.call.stage(about.number, i),
      links,
      chosen: state.stage,
      onChoose: (name) => void (state.stage = name),
    }),
  kernels: ({ about, worker }, links) => kernels({ about, detail: (i) => worker.call.kernel(about.number, i), links }),
};

function showCounts({ bar }: Parts, { nodes, stages, kernels: all }: CompiledAbout): void {
  bar.badge("graph", String(nodes));
  bar.badge("passes", String(stages.filter((s) => s.changed).length));
  bar.badge("kernels", String(all.length));
}

function showFaults(box: HTMLElement, faults: readonly Fault[]): void {
  box.hidden = faults.length === 0;
  box.replaceChildren(
    ...faults.map(({ title, text }) => element("section", {}, element("strong", {}, title), element("pre", {}, text))),
  );
}
