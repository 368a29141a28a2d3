/** The page: connects the editor, the compile pane and the run pane. */
import { compilePane } from "./compile-pane/compile-pane.ts";
import { openEditor } from "./editor/editor.ts";
import type { LanguageService } from "./editor/language-worker.ts";
import languageWorker from "./editor/language-worker.ts?worker&url";
import { examples } from "./examples/index.ts";
import { follow } from "./follow.ts";
import compileWorker from "./machine/compile-worker.ts?worker&url";
import runWorker from "./machine/run-worker.ts?worker&url";
import { runPane } from "./run-pane/run-pane.ts";
import { byId, element } from "./shell/element.ts";
import { panes } from "./shell/panes.ts";
import { remembered } from "./shell/remembered.ts";
import { client } from "./shell/rpc.ts";
import { addressWith, forgetAddress, fromAddress } from "./shell/share.ts";
import { themeButton } from "./shell/theme.ts";

const base = new URL("generated/", document.baseURI).href;
const given = new URLSearchParams(location.search);
const kept = remembered("source", examples[0]!.source);

themeButton(byId<HTMLButtonElement>("theme"));
const language = client<LanguageService>(languageWorker);
const ready = language.call.open(`${base}declarations.json`);
const first = await fromAddress();
const notice = byId("model-notice");
const places = panes(byId("places"), byId("panes"));

const editor = openEditor({
  parent: byId("editor"),
  text: first.text ?? kept.get(),
  language,
  onChange: (text) => {
    kept.set(text);
    forgetAddress();
    notice.hidden = true;
    following.changed();
  },
  onLine: (line) => compile.mark(line),
});
const compile = compilePane({
  parent: byId("compile-pane"),
  links: {
    point: (lines) => editor.point(lines),
    reveal: (lines) => editor.point(lines, true),
    goTo: (line, isFocused) => {
      if (places.isNarrow()) places.show("model");
      editor.goTo(line, isFocused);
    },
  },
  onAsk: () => following.changed(),
});
const emoji = Number(given.get("emoji") ?? 0);
const run = runPane({ parent: byId("run-pane"), worker: runWorker, options: { base, ...(emoji > 0 && { emoji }) } });
const following = follow({
  editor,
  language,
  ready,
  compile,
  run,
  worker: compileWorker,
  status: byId("model-status"),
});
following.changed();

const example = byId<HTMLSelectElement>("example");
example.append(
  element("option", { value: "" }, "Examples"),
  ...examples.map(({ id, title }) => element("option", { value: id }, title)),
);
example.addEventListener("change", () => {
  const chosen = examples.find(({ id }) => id === example.value);
  example.value = "";
  if (chosen) editor.setText(chosen.source);
});

const share = byId<HTMLButtonElement>("share");
share.addEventListener("click", async () => {
  const address = await addressWith(editor.text());
  history.replaceState(null, "", address);
  const isCopied = await navigator.clipboard?.writeText(address).then(
    () => true,
    () => false,
  );
  share.textContent = isCopied ? "Link copied" : "Link is in the address bar";
  setTimeout(() => void (share.textContent = "Share"), 2500);
});

/** Says that the page's link could not be read; the text stays. */
function sayFault(fault: string | undefined): void {
  notice.textContent = fault ?? "";
  notice.hidden = fault === undefined;
}
sayFault(first.fault);
window.addEventListener("hashchange", async () => {
  const { text, fault } = await fromAddress();
  sayFault(fault);
  if (text === undefined || text === editor.text()) return;
  const { href } = location;
  editor.setText(text);
  history.replaceState(null, "", href);
});

// To test recovery from a lost device: `playground.loseDevice()` in the console.
Object.assign(window, { playground: { loseDevice: run.lose } });
