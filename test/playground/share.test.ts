/** The model in a link: what anybody may have made of it. */
import { deflateRawSync } from "node:zlib";
import { afterEach, expect, it, vi } from "vitest";
import { addressWith, fromAddress, inflated } from "../../playground/shell/share.ts";

afterEach(() => vi.unstubAllGlobals());

const packed = (content: string | Uint8Array) => new Uint8Array(deflateRawSync(content));

it("is the text that was shared", async () => {
  const text = "// 猫\nexport default 1;\n".repeat(1000);
  expect(await inflated(packed(text))).toBe(text);
});

it("that would fill the memory is refused before it does", async () => {
  const bomb = packed(new Uint8Array(20_000_000));
  expect(bomb.length).toBeLessThan(25_000);
  await expect(inflated(bomb)).rejects.toThrow("it has more than 4194304 bytes");
});

it("that is cut off, damaged or no text is refused", async () => {
  const whole = packed("export default 1;".repeat(9));
  await expect(inflated(whole.slice(0, -3))).rejects.toThrow();
  await expect(inflated(Uint8Array.of(255, 255, 255))).rejects.toThrow();
  await expect(inflated(packed(Uint8Array.of(0x61, 0xff)))).rejects.toThrow();
});

it("goes into the address and comes out of it, and a link that was cut says so", async () => {
  vi.stubGlobal("location", { href: "https://example.org/p/?emoji=12#old" });
  const text = "// 猫 ÿ>?\nexport default 1;\n".repeat(50);
  const address = await addressWith(text);
  expect(address).toMatch(/^https:\/\/example\.org\/p\/\?emoji=12#model=[\w-]+$/);
  const hash = address.slice(address.indexOf("#"));
  expect(await fromAddress(hash)).toEqual({ text });
  expect(await fromAddress("#elsewhere")).toEqual({});
  for (const broken of ["#model=", hash.slice(0, -4), `${hash}!`, `#model=${"A".repeat(41)}`])
    expect(await fromAddress(broken)).toEqual({
      fault: expect.stringContaining("cannot be read: it is incomplete or damaged"),
    });
});
