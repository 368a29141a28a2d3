/** The model in a link: what anybody may have made of it. */
import { deflateRawSync } from "node:zlib";
import { expect, it } from "vitest";
import { inflated } from "../../playground/shell/share.ts";

const packed = (content: string | Uint8Array) => new Uint8Array(deflateRawSync(content));

it("is the text that was shared", async () => {
  const text = "// 猫\nexport default 1;\n".repeat(1000);
  expect(await inflated(packed(text))).toBe(text);
});

it("that would fill the memory is refused before it does", async () => {
  const bomb = packed(new Uint8Array(20_000_000));
  expect(bomb.length).toBeLessThan(25_000);
  await expect(inflated(bomb)).rejects.toThrow("the model in the link has more than 4194304 bytes");
});

it("that is cut off, damaged or no text is refused", async () => {
  const whole = packed("export default 1;".repeat(9));
  await expect(inflated(whole.slice(0, -3))).rejects.toThrow();
  await expect(inflated(Uint8Array.of(255, 255, 255))).rejects.toThrow();
  await expect(inflated(packed(Uint8Array.of(0x61, 0xff)))).rejects.toThrow();
});
