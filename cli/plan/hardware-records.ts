/**
 * Devices for planning: peak rates from vendors' data sheets, dense and at stock clocks. For this machine's device,
 * rates from `heddle devices --measure` take precedence.
 */
import { type AdapterFacts, kernelIr } from "../../compiler/index.ts";
import { typicalFacts } from "../typical-gpu.ts";
import type { Peaks } from "./roofline.ts";

export interface Hardware {
  readonly name: string;
  /** Bytes of its memory, as the vendor counts them. */
  readonly memory: number;
  /** The adapter facts that kernels are compiled for. */
  readonly facts: AdapterFacts;
  /**
   * Per second: bytes of memory, multiply-adds in f32, f16 products accumulated in f32 on matrix units; and seconds per
   * launch.
   */
  readonly peaks: Peaks;
  /** Bytes per second, each way, to other devices of its node. */
  readonly link?: { readonly name: string; readonly bytesPerSecond: number; readonly devices: number };
  readonly source: string;
}

const recorded = (name: keyof typeof kernelIr.recordedAdapters, multiprocessors?: number): AdapterFacts => ({
  ...typicalFacts,
  ...kernelIr.recordedAdapters[name].facts,
  ...(multiprocessors !== undefined && { multiprocessors }),
});

/** Time of one dispatch on an H200: vendors do not publish it, so it is used for all GPUs. */
const dispatch = 4.4e-6;

const gpu = (
  name: string,
  gigabytes: number,
  facts: AdapterFacts,
  [bytes, f32, matrices]: readonly [bytes: number, f32: number, matrices?: number],
  source: string,
  nvlink?: number,
): Hardware => ({
  name,
  memory: gigabytes * 1e9,
  facts,
  peaks: { copy: bytes, f32, dispatch, ...(matrices !== undefined && { matrices }) },
  ...(nvlink !== undefined && { link: { name: "NVLink", bytesPerSecond: nvlink, devices: 8 } }),
  source,
});

/** Other NVIDIA GPUs are assumed equal to an H200 except for the number of multiprocessors. */
const nvidia = (multiprocessors: number) => recorded("nvidia-h200", multiprocessors);

export const hardware: readonly Hardware[] = [
  gpu(
    "A100-80G",
    80,
    nvidia(108),
    [2039e9, 19.5e12, 312e12],
    "NVIDIA A100 data sheet (June 2021), A100 80GB SXM: 2,039 GB/s, 19.5 TFLOP/s FP32, 312 FP16 and BF16 tensor core, NVLink 600 GB/s in both directions together",
    300e9,
  ),
  gpu(
    "A100-40G",
    40,
    nvidia(108),
    [1555e9, 19.5e12, 312e12],
    "NVIDIA A100 data sheet (June 2021), A100 40GB SXM: 1,555 GB/s; otherwise as with 80 GB",
    300e9,
  ),
  gpu(
    "H100",
    80,
    nvidia(132),
    [3350e9, 66.9e12, 989.4e12],
    "NVIDIA H100 Tensor Core GPU architecture white paper, table 2, and data sheet, H100 SXM5: 3.35 TB/s, 66.9 TFLOP/s FP32, 989.4 FP16 and BF16 tensor core with sums in FP32, NVLink 900 GB/s in both directions together",
    450e9,
  ),
  gpu(
    "H200",
    141,
    nvidia(132),
    [4800e9, 66.9e12, 989.4e12],
    "NVIDIA H200 data sheet, H200 SXM: 141 GB, 4.8 TB/s, 67 TFLOP/s FP32; processors and NVLink are those of an H100",
    450e9,
  ),
  gpu(
    "RTX-4090",
    24,
    nvidia(128),
    [1008e9, 82.6e12, 165.2e12],
    "NVIDIA Ada GPU architecture white paper, appendix A, table 2: 1,008 GB/s, 82.6 TFLOP/s FP32, 165.2 FP16 tensor core with sums in FP32",
  ),
  gpu(
    "M2-Max",
    96,
    recorded("apple-m"),
    [400e9, 13.6e12],
    "Apple, M2 Max announcement (January 2023): up to 96 GB, which the processor shares, 400 GB/s, 13.6 TFLOP/s FP32 of 38 cores. No rate of matrix units is published: they are planned with that of f32",
  ),
];
