/** Attribution of images and names, which their licences require. */
import type { Credit } from "../machine/packed-emoji.ts";
import { element } from "../shell/element.ts";

export function creditsOf(all: readonly Credit[]): HTMLElement {
  const items = all.map(({ name, author, link, license }) =>
    element(
      "li",
      {},
      element("a", { href: link, target: "_blank", rel: "noreferrer" }, name),
      ` by ${author}, ${license}; scaled down`,
    ),
  );
  return element(
    "details",
    { class: "credits" },
    element("summary", {}, "Images and names"),
    element("ul", {}, ...items),
  );
}
