/** What the pane says of the device. */
import type { DeviceAbout } from "../machine/run-worker.ts";
import { element } from "../shell/element.ts";
import { sentences } from "../shell/sentences.ts";

export interface DeviceStatus {
  readonly element: HTMLElement;
  /** Shows the device, and returns it. */
  readonly opened: (about: DeviceAbout) => DeviceAbout;
  /** Shows that there is none; the reason goes to the end of the pane. */
  readonly none: (error: Error, pane: HTMLElement) => undefined;
}

export function deviceStatus(): DeviceStatus {
  const line = element("p", { class: "pane-status", role: "status" }, "opening the device …");
  return {
    element: line,
    opened: (about) => {
      line.textContent = about.name;
      line.title = about.software ? "A software GPU on the CPU" : "";
      return about;
    },
    none: ({ message }, pane) => {
      line.textContent = "no device";
      pane.classList.add("no-device");
      pane.append(whyNone(message));
      return undefined;
    },
  };
}

function whyNone(message: string): HTMLElement {
  const [what, ...hints] = sentences(message).split("\n");
  return element(
    "div",
    { class: "no-webgpu", role: "alert" },
    element("strong", {}, "Training needs WebGPU"),
    element("p", {}, what!),
    ...hints.map((hint) => element("p", { class: "hint" }, hint)),
    element("p", {}, "Editing and compiling work without it: kernels then target the default limits of WebGPU."),
  );
}
