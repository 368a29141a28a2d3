/** What is compiled: the model, another of its graphs or a training step, and for which batch. */
import type { ModelAbout, Subject } from "../machine/model.ts";
import { element } from "../shell/element.ts";

export interface SubjectForm {
  readonly elements: readonly HTMLElement[];
  /** Lists what can be compiled for a model, keeping the selection if it still exists. */
  readonly offer: (model: ModelAbout) => void;
  readonly subject: () => { readonly subject: Subject; readonly batch: number };
}

export function subjectForm(onchange: () => void): SubjectForm {
  const subject = element("select", { "aria-label": "Graph to compile", onchange });
  const batch = element("input", { type: "number", min: 1, max: 4096, value: 16, "aria-label": "Batch", onchange });
  return {
    elements: [
      element("label", { class: "field" }, subject),
      element("label", { class: "field short" }, "batch", batch),
    ],
    offer: (model) => offer(subject, model),
    subject: () => ({ subject: subjectOf(subject.value), batch: Math.max(1, Math.round(Number(batch.value)) || 1) }),
  };
}

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
