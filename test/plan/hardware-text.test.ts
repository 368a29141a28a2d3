/** What --hardware takes: devices, how many, and what joins them; else an error that says what to write. */
import { describe, expect, it } from "vitest";
import { hardware } from "../../cli/plan/hardware-records.ts";
import { clusterOf, parseHardware, recordOf } from "../../cli/plan/hardware-text.ts";

const read = (text: string) => {
  const asked = parseHardware(text);
  return clusterOf(recordOf(asked.device), asked);
};

describe("--hardware", () => {
  it.each([
    ["H200", "H200", 1, undefined],
    ["h200", "H200", 1, undefined],
    ["8×A100-80G", "A100-80G", 8, { name: "NVLink", bytesPerSecond: 300e9 }],
    ["8xA100-80G", "A100-80G", 8, { name: "NVLink", bytesPerSecond: 300e9 }],
    [" 2 * rtx 4090 , ETH-10G ", "RTX-4090", 2, { name: "ETH-10G", bytesPerSecond: 1.25e9 }],
    ["640×A100-80G,IB-200G", "A100-80G", 640, { name: "IB-200G", bytesPerSecond: 25e9 }],
    ["1×M2-Max", "M2-Max", 1, undefined],
  ])("%s", (text, name, count, link) => {
    const cluster = read(text);
    expect([cluster.device.name, cluster.count, cluster.link]).toEqual([name, count, link]);
  });

  it.each([
    ["", "--hardware must be a device, with how many of it and their interconnect"],
    ["8×", '8×A100-80G or 640×A100-80G,IB-200G; got "8×"'],
    ["0×H200", 'got "0×H200"'],
    ["-1×H200", 'got "-1×H200"'],
    ["1.5×H200", 'got "1.5×H200"'],
    ["9007199254740993×H200", 'got "9007199254740993×H200"'],
    ["H20", 'unknown hardware "H20"; did you mean "H200"?'],
    ["abacus", "Known hardware: A100-80G, A100-40G, H100, H200, RTX-4090, M2-Max, here."],
    ["16×H100", "give the interconnect of 16 × H100, as in 16×H100,IB-200G: its NVLink connects 8"],
    ["2×RTX-4090", "give the interconnect of 2 × RTX-4090, as in 2×RTX-4090,IB-200G: it has no known interconnect"],
    ["16×H100,fast", 'as in IB-200G; got "fast"'],
    ["16×H100,IB-0G", 'as in IB-200G; got "IB-0G"'],
  ])("refuses %j", (text, message) => {
    expect(() => read(text)).toThrow(message);
  });

  it("knows devices whose figures are of one kind, each with its source", () => {
    for (const { name, memory, peaks, source } of hardware) {
      expect(memory, name).toBeGreaterThan(1e9);
      expect(peaks.copy, name).toBeGreaterThan(1e11);
      expect(peaks.f32, name).toBeGreaterThan(1e12);
      expect(peaks.matrices ?? Number.POSITIVE_INFINITY, name).toBeGreaterThan(peaks.f32);
      expect(source.length, name).toBeGreaterThan(20);
    }
    expect(new Set(hardware.map((h) => h.name)).size).toBe(hardware.length);
  });
});
