/** Light, dark, or as the system has it. */
import { remembered } from "./remembered.ts";

const choices = ["auto", "light", "dark"] as const;
type Theme = (typeof choices)[number];

const kept = remembered<Theme>("theme", "auto");

/** A button that goes from one to the next. */
export function themeButton(button: HTMLButtonElement): void {
  const show = () => {
    const theme = kept.get();
    document.documentElement.dataset.theme = theme;
    button.dataset.theme = theme;
    button.setAttribute("aria-label", `Colours: ${theme}`);
    button.title = `Colours: ${theme}`;
  };
  button.addEventListener("click", () => {
    kept.set(choices[(choices.indexOf(kept.get()) + 1) % choices.length]!);
    show();
  });
  show();
}
