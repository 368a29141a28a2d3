/** Light, dark, or the system's theme. */
import { remembered } from "./remembered.ts";

const choices = ["auto", "light", "dark"] as const;
type Theme = (typeof choices)[number];

const kept = remembered<Theme>("theme", "auto");

/** A button that cycles through the themes. */
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
