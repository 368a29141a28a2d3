/** Kernels written by hand, as text: what no schedule makes yet, on any size and for any subgroup. */

export interface Product {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /**
   * N where the operand lies as the product names it, T where it is transposed: A [m, k] or [k, m], B [k, n] or [n, k].
   */
  readonly layout: "NN" | "NT" | "TN";
  readonly lanes: number;
  readonly result?: "f32" | "f16";
}

const up = (n: number, step: number): number => Math.ceil(n / step);

/**
 * A matrix product in f16, summed by matrix units: 2 x 2 subgroups bring slabs of both operands to shared memory, as
 * they lie, and multiply a fragment of 16 x 16 each. Sizes need not fit: what is outside is zero, and is not stored.
 */
export function product({ m, n, k, layout, lanes, result = "f32" }: Product): string {
  const threads = 4 * lanes;
  const [turnedA, turnedB] = [layout[0] === "T", layout[1] === "T"];
  // A slab has 32 rows or columns of its operand and 16 steps of the sum; its lines are padded by two.
  const [pitchA, pitchB] = [turnedA ? 34 : 18, turnedB ? 18 : 34];
  const fill = (slab: string, buffer: string, deepLines: boolean, first: string, size: number, pitch: number) => `
    for e${slab} in lid .. 512 by ${threads} {
      let line${slab}: i32 = e${slab} / ${deepLines ? 32 : 16}
      let at${slab}: i32 = e${slab} % ${deepLines ? 32 : 16}
      let side${slab}: i32 = ${first} + ${deepLines ? `at${slab}` : `line${slab}`}
      let step${slab}: i32 = s * 16 + ${deepLines ? `line${slab}` : `at${slab}`}
      let inside${slab}: bool = side${slab} < ${size} & step${slab} < ${k}
      let i${slab}: i32 = min(side${slab}, ${size - 1})
      let k${slab}: i32 = min(step${slab}, ${k - 1})
      ${slab}[line${slab} * ${pitch} + at${slab}] = inside${slab} ? ${buffer}[${deepLines ? `k${slab} * ${size} + i${slab}` : `i${slab} * ${k} + k${slab}`}] : 0:f16
    }`;
  const order = (turned: boolean) => (turned ? "column_major" : "row_major");
  const corner = (sub: string, along: boolean, pitch: number) => (along ? `${sub} * 16` : `${sub} * ${16 * pitch}`);
  return `
kernel contraction "hand/${layout} ${m}x${n}x${k}"
  b0: read f16[${m * k}]
  b1: read f16[${n * k}]
  b2: read_write ${result}[${m * n}]
  workgroup slabA: f16[${turnedA ? 16 * 34 : 32 * 18}]
  workgroup slabB: f16[${turnedB ? 32 * 18 : 16 * 34}]
  workgroup strip: ${result}[${32 * 34}]
  fragment a: left f16[16, 16]
  fragment b: right f16[16, 16]
  fragment c: result ${result}[16, 16]
  requires f16, subgroups, subgroup_size, subgroup_matrix
  workgroup [${threads}, 1, 1] subgroup ${lanes} grid [${up(n, 32)}, ${up(m, 32)}, 1]
{
  let down: i32 = subgroup_id % 2
  let right: i32 = (subgroup_id / 2) % 2
  fill c with 0:${result}
  for s in 0 .. ${up(k, 16)} {
    ${fill("slabA", "b0", turnedA, "wid_y * 32", m, pitchA)}
    ${fill("slabB", "b1", !turnedB, "wid_x * 32", n, pitchB)}
    barrier
    load a from slabA[${corner("down", turnedA, pitchA)}] stride ${pitchA} ${order(turnedA)}
    load b from slabB[${corner("right", !turnedB, pitchB)}] stride ${pitchB} ${order(turnedB)}
    c += a * b
    barrier
  }
  store c to strip[down * ${16 * 34} + right * 16] stride 34 row_major
  barrier
  for e in lid .. 1024 by ${threads} {
    let i: i32 = wid_y * 32 + e / 32
    let j: i32 = wid_x * 32 + e % 32
    if (i < ${m} & j < ${n}) {
      b2[i * ${n} + j] = strip[(e / 32) * 34 + e % 32]
    }
  }
}
`;
}

/** The same without edges, by sixteen bytes at a time, NT: one subgroup to a tile of 16 x 16. */
export const wideProduct = (m: number, n: number, k: number, lanes: number): string => `
kernel contraction "hand/wide"
  b0: read f16[${m * k}] by 8
  b1: read f16[${n * k}] by 8
  b2: read_write f32[${m * n}] by 4
  workgroup slab: f16[${2 * 16 * 24}] by 8
  fragment a: left f16[16, 16]
  fragment b: right f16[16, 16]
  fragment c: result f32[16, 16]
  requires f16, subgroups, subgroup_size, subgroup_matrix
  workgroup [${lanes}, 1, 1] subgroup ${lanes} grid [${n / 16}, ${m / 16}, 1]
{
  for s in 0 .. ${k / 16} {
    for e in lid .. 32 by ${lanes} {
      let row: i32 = e / 2
      slab[row * 3 + e % 2] = b0[(wid_y * 16 + row) * ${k / 8} + s * 2 + e % 2]
      slab[48 + row * 3 + e % 2] = b1[(wid_x * 16 + row) * ${k / 8} + s * 2 + e % 2]
    }
    barrier
    load a from slab[0] stride 3 row_major
    load b from slab[48] stride 3 column_major
    c += a * b
    barrier
  }
  store c to b2[wid_y * ${4 * n} + wid_x * 4] stride ${n / 4} row_major
}
`;

/**
 * Softmax of rows scaled as attention scales its logits: a workgroup a row, whatever its subgroups. Any number of rows.
 */
export const softmax = (columns: number, scale: number): string => `
kernel row_reduction "hand/softmax"
  sizes $rows in 1 .. 65536
  b0: read f32[$rows * ${columns}]
  b1: read_write f32[$rows * ${columns}]
  workgroup parts: f32[64]
  requires subgroups
  workgroup [64, 1, 1] grid [$rows, 1, 1]
{
  let subgroups: i32 = (64 + subgroup_size - 1) / subgroup_size
  var top: f32 = -3.4e38:f32
  for j in lid .. ${columns} by 64 {
    top = max(top, b0[wid_x * ${columns} + j] * ${scale}:f32)
  }
  let lanesTop: f32 = subgroup_max(top)
  if (lane < 1) {
    parts[subgroup_id] = lanesTop
  }
  barrier
  for p in 0 .. subgroups {
    top = max(top, parts[p])
  }
  barrier
  var total: f32 = 0:f32
  for j2 in lid .. ${columns} by 64 {
    total = total + exp(b0[wid_x * ${columns} + j2] * ${scale}:f32 - top)
  }
  let lanesTotal: f32 = subgroup_add(total)
  if (lane < 1) {
    parts[subgroup_id] = lanesTotal
  }
  barrier
  total = 0:f32
  for p2 in 0 .. subgroups {
    total = total + parts[p2]
  }
  for j3 in lid .. ${columns} by 64 {
    b1[wid_x * ${columns} + j3] = exp(b0[wid_x * ${columns} + j3] * ${scale}:f32 - top) / total
  }
}
`;

/** Copies f16 by fours, and doubles the last of each four in f16. */
export const halfCopy = (count: number): string => `
kernel elementwise "hand/copy"
  b0: read f16[${count}] by 4
  b1: read_write f16[${count}] by 4
  requires f16
  workgroup [32, 1, 1] grid [${up(count / 4, 32)}, 1, 1]
{
  let i: i32 in 0 .. ${count / 4} = wid_x * 32 + lid
  if (i < ${count / 4}) {
    let v: f16x4 = b0[i]
    b1[i] = v * f16x4(1:f16, 1:f16, 1:f16, 2:f16)
  }
}
`;

/** Copies f16 by sixteen bytes, which needs no arithmetic on halves. */
export const sixteenByteCopy = (count: number): string => `
kernel elementwise "hand/wide copy"
  b0: read f16[${count}] by 8
  b1: read_write f16[${count}] by 8
  workgroup [32, 1, 1] grid [${up(count / 8, 32)}, 1, 1]
{
  let i: i32 in 0 .. ${count / 8} = wid_x * 32 + lid
  if (i < ${count / 8}) {
    b1[i] = b0[i]
  }
}
`;

/**
 * Sums groups of 64 by shuffles, whatever the size of subgroups, and says for each element what came before it in its
 * subgroup.
 */
export const shuffleReduce = (groups: number): string => `
kernel row_reduction "hand/shuffle"
  b0: read f32[${64 * groups}]
  b1: read_write f32[${groups}]
  b2: read_write f32[${64 * groups}]
  workgroup parts: f32[64]
  requires subgroups
  workgroup [64, 1, 1] grid [${groups}, 1, 1]
{
  let x: f32 = b0[wid_x * 64 + lid]
  let before: f32 = subgroup_exclusive_add(x)
  let first: f32 = subgroup_broadcast(x, 0)
  let next: f32 = subgroup_shuffle(x, (lane + 1) % subgroup_size)
  b2[wid_x * 64 + lid] = before + first * 1000:f32 + next * 1000000:f32
  var sum: f32x2 = f32x2(x, 1:f32)
${[1, 2, 4, 8, 16, 32]
  .map(
    (mask) => `  if (${mask} < subgroup_size) {
    let other${mask}: f32x2 = subgroup_shuffle_xor(sum, ${mask})
    sum = sum + other${mask}
  }`,
  )
  .join("\n")}
  if (lane < 1 & sum.y == f32(subgroup_size)) {
    parts[subgroup_id] = sum.x
  }
  barrier
  if (lid < 1) {
    var total: f32 = 0:f32
    for p in 0 .. 64 / subgroup_size {
      total = total + parts[p]
    }
    b1[wid_x] = total
  }
}
`;

export const everyHandWritten = (lanes: number): readonly (readonly [string, string])[] => [
  ...(["NN", "NT", "TN"] as const).map(
    (layout) => [`product ${layout}`, product({ m: 37, n: 45, k: 29, layout, lanes })] as const,
  ),
  ["product summed in f16", product({ m: 16, n: 33, k: 17, layout: "NT", lanes, result: "f16" })],
  ["product by sixteen bytes", wideProduct(32, 48, 64, lanes)],
  ["softmax", softmax(77, 0.125)],
  ["copy by fours", halfCopy(84)],
  ["copy by sixteen bytes", sixteenByteCopy(88)],
  ["reduction by shuffles", shuffleReduce(3)],
];
