/** Texts belong to the compilation that is shown, whatever was compiled after it. */
import { expect, it } from "vitest";
import { Compilations } from "../../playground/machine/compilations.ts";
import type { Compiled } from "../../playground/machine/compiled.ts";

const named = (title: string) => ({ about: { title }, graph: () => [{ text: title }] }) as unknown as Compiled;

it("answers for the compilation that is shown while newer ones are made, and forgets older ones", () => {
  const compilations = new Compilations();
  const [first, second] = [compilations.add(named("first")), compilations.add(named("second"))];
  expect([first, second]).toMatchObject([
    { title: "first", number: 0 },
    { title: "second", number: 1 },
  ]);
  compilations.show(first.number);
  expect(compilations.of(first.number).graph()).toMatchObject([{ text: "first" }]);
  compilations.show(second.number);
  expect(() => compilations.of(first.number)).toThrow("a newer compilation is shown");
  expect(compilations.of(second.number).graph()).toMatchObject([{ text: "second" }]);
});
