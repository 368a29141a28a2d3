/** Hoisting, loops and verification of kernels, on kernels small enough to read. */
import { describe, expect, test } from "vitest";
import {
  type Expr,
  float,
  floatArith,
  hoist,
  index,
  indexVar,
  int,
  interpretKernel,
  type Kernel,
  keepLoops,
  load,
  printKernel,
  type Stmt,
  variable,
  verifyKernel,
} from "../../compiler/kernel/index.ts";

const { add, mul } = index;
const lane = variable("lid", "i32", { min: 0, max: 3 });
const k = indexVar("k", 5);

function kernelOf(body: readonly Stmt[], access: "read" | "read_write" = "read"): Kernel {
  return {
    name: "test",
    kind: "elementwise",
    buffers: [
      { name: "b0", dtype: "f32", access, size: int(20) },
      { name: "b1", dtype: "f32", access: "read_write", size: int(20) },
    ],
    arrays: [],
    workgroup: [4, 1, 1],
    grid: [int(1), int(1), int(1)],
    sizes: [],
    body,
  };
}

const loop = (body: readonly Stmt[]): Stmt => ({ kind: "for", index: k, from: int(0), to: int(5), step: 1, body });
const store = (i: Expr, value: Expr): Stmt => ({ kind: "store", buffer: "b1", index: i, value });
const row = mul(lane, int(5));
const bodyText = (kernel: Kernel) => printKernel(kernel).split("{\n").slice(1).join("{\n");

test("what is loaded of a buffer that the kernel writes is shared up to the next store, and no further", () => {
  const own = load("b1", "f32", lane);
  const [x, y] = [variable("x", "f32"), variable("y", "f32")];
  const kernel = kernelOf([
    { kind: "let", target: x, value: floatArith("add", own, own) },
    store(lane, x),
    { kind: "let", target: y, value: floatArith("mul", own, own) },
    { kind: "if", condition: { kind: "compare", dtype: "bool", op: "lt", a: lane, b: int(3) }, body: [store(lane, y)] },
    store(add(lane, int(4)), floatArith("add", own, own)),
  ]);
  const hoisted = verifyKernel(hoist(kernel));
  expect(bodyText(hoisted).match(/b1\[lid\](?! =)/g)).toHaveLength(3);
  const run = (one: Kernel) => {
    const b1 = Float64Array.from({ length: 20 }, (_, i) => i + 1);
    interpretKernel(one, { b0: new Float64Array(20), b1 });
    return [...b1.slice(0, 8)];
  };
  expect(run(hoisted)).toEqual(run(kernel));
  expect(run(hoisted)).toEqual([4, 16, 36, 8, 8, 32, 72, 16]);
});

describe("keepLoops", () => {
  const inner = loop([store(add(row, k), load("b0", "f32", add(row, k)))]);
  const condition: Expr = { kind: "compare", dtype: "bool", op: "lt", a: lane, b: int(3) };

  test("begins loops at an index of the grid that is 0, which changes no result", () => {
    const kernel = kernelOf([{ kind: "if", condition, body: [inner] }]);
    const kept = verifyKernel(keepLoops(kernel));
    expect(bodyText(kept)).toBe(`  if (lid < 3) {
    for k in wid_z .. 5 {
      b1[((lid * 5) + k)] = b0[((lid * 5) + k)]
    }
  }
}
`);
    const run = (one: Kernel) => {
      const b1 = new Float64Array(20);
      interpretKernel(one, { b0: Float64Array.from({ length: 20 }, (_, i) => i), b1 });
      return b1;
    };
    expect(run(kept)).toEqual(run(kernel));
  });

  test("takes a line of the grid that has one workgroup, and changes nothing where there is none", () => {
    const on = (x: number, y: number, z: number): Kernel => ({ ...kernelOf([inner]), grid: [int(x), int(y), int(z)] });
    expect(bodyText(keepLoops(on(2, 1, 3)))).toContain("for k in wid_y .. 5");
    const full = on(2, 2, 2);
    expect(keepLoops(full)).toBe(full);
  });
});

describe("hoist", () => {
  test("moves what a loop does not change out of it, loads included", () => {
    const kernel = kernelOf([loop([store(add(row, k), floatArith("mul", load("b0", "f32", row), float(2)))])]);
    expect(bodyText(hoist(kernel))).toBe(`  let h0: i32 = (lid * 5)
  let h1: f32 = (b0[h0] * 2:f32)
  for k in 0 .. 5 {
    b1[(h0 + k)] = h1
  }
}
`);
  });

  test("leaves loads of a buffer that the kernel writes where they are", () => {
    const kernel = kernelOf([loop([store(add(row, k), load("b0", "f32", row))])], "read_write");
    expect(bodyText(hoist(kernel))).toBe(`  let h0: i32 = (lid * 5)
  for k in 0 .. 5 {
    b1[(h0 + k)] = b0[h0]
  }
}
`);
  });

  test("does not move a load out of the condition that guards it", () => {
    const condition: Expr = { kind: "compare", dtype: "bool", op: "lt", a: lane, b: int(3) };
    const value = floatArith("add", load("b0", "f32", row), load("b0", "f32", row));
    const kernel = kernelOf([loop([{ kind: "if", condition, body: [store(add(row, k), value)] }])]);
    expect(bodyText(hoist(kernel))).toBe(`  let h0: bool = (lid < 3)
  let h2: i32 = (lid * 5)
  for k in 0 .. 5 {
    let h1: i32 = (h2 + k)
    if h0 {
      let h3: f32 = b0[h2]
      b1[h1] = (h3 + h3)
    }
  }
}
`);
  });
});

describe("verifyKernel", () => {
  const x = variable("x", "f32");
  const faulty: readonly [string, Kernel, RegExp][] = [
    ["a name read before it is bound", kernelOf([store(lane, x)]), /x is used before it is defined/],
    [
      "a name bound twice",
      kernelOf([
        { kind: "let", target: x, value: float(1) },
        { kind: "let", target: x, value: float(2) },
      ]),
      /x is bound twice/,
    ],
    [
      "a store to a buffer that is only read",
      kernelOf([{ kind: "store", buffer: "b0", index: lane, value: float(1) }]),
      /store to b0, which is read-only/,
    ],
    ["a store of another dtype", kernelOf([store(lane, int(1))]), /store of i32 to b1, whose elements are f32/],
    [
      "arithmetic of two dtypes",
      kernelOf([store(lane, floatArith("add", float(1), int(1)))]),
      /the operands of add have different types: f32 and i32/,
    ],
    ["an infinite integer", kernelOf([store(int(Infinity), float(1))]), /the constant Infinity/],
    [
      "an assignment to a let",
      kernelOf([
        { kind: "let", target: x, value: float(1) },
        { kind: "assign", target: x, value: float(2) },
      ]),
      /x is assigned, but it is not a variable/,
    ],
  ];

  test.each(faulty)("refuses %s and prints the kernel", (_, kernel, message) => {
    expect(() => verifyKernel(kernel)).toThrow(message);
    expect(() => verifyKernel(kernel)).toThrow(/kernel elementwise "test"/);
  });

  test("gives a sound kernel back", () => {
    const kernel = kernelOf([store(lane, float(1))]);
    expect(verifyKernel(kernel)).toBe(kernel);
  });
});
