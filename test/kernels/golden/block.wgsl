// reduce_sum+mul
@group(0) @binding(0) var<storage, read> b0: array<f32, 80>;
@group(0) @binding(1) var<storage, read> b1: array<f32, 8>;
@group(0) @binding(2) var<storage, read_write> b2: array<f32, 80>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h1 = (i0 * 8i);
  if ((i0 < 10i)) {
    var acc1 = 0.0f;
    for (var k2 = 0i; k2 < 8i; k2 += 1i) {
      let h0 = b0[(h1 + k2)];
      acc1 = (acc1 + ((h0 * h0)));
    }
    let red3 = acc1;
    let h3 = (inverseSqrt(((((red3 * 0.125f)) + 9.999999974752427e-7f))));
    for (var k4 = 0i; k4 < 8i; k4 += 1i) {
      let h2 = (h1 + k4);
      let v5 = ((((b0[h2] * h3)) * b1[k4]));
      b2[h2] = v5;
    }
  }
}

// qkv/contract
@group(0) @binding(0) var<storage, read> b0: array<f32, 80>;
@group(0) @binding(1) var<storage, read> b1: array<f32, 192>;
@group(0) @binding(2) var<storage, read_write> b2: array<f32, 240>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h0 = (i0 / 6i);
  let h1 = (i0 % 6i);
  if ((i0 < 30i)) {
    let m1 = h0;
    let n2 = h1;
    var c3 = 0.0f;
    var c4 = 0.0f;
    var c5 = 0.0f;
    var c6 = 0.0f;
    var c7 = 0.0f;
    var c8 = 0.0f;
    var c9 = 0.0f;
    var c10 = 0.0f;
    let h3 = (m1 * 16i);
    let h5 = (n2 * 32i);
    for (var k11 = 0i; k11 < 8i; k11 += 1i) {
      let h2 = (h3 + k11);
      let l12 = b0[h2];
      let l13 = b0[(h2 + 8i)];
      let h4 = (h5 + k11);
      let r14 = b1[h4];
      let r15 = b1[(h4 + 8i)];
      let r16 = b1[(h4 + 16i)];
      let r17 = b1[(h4 + 24i)];
      c3 = (c3 + (l12 * r14));
      c4 = (c4 + (l12 * r15));
      c5 = (c5 + (l12 * r16));
      c6 = (c6 + (l12 * r17));
      c7 = (c7 + (l13 * r14));
      c8 = (c8 + (l13 * r15));
      c9 = (c9 + (l13 * r16));
      c10 = (c10 + (l13 * r17));
    }
    let d18 = c3;
    let v19 = d18;
    let h6 = ((m1 * 48i) + (n2 * 4i));
    b2[h6] = v19;
    let d20 = c4;
    let v21 = d20;
    b2[(h6 + 1i)] = v21;
    let d22 = c5;
    let v23 = d22;
    b2[(h6 + 2i)] = v23;
    let d24 = c6;
    let v25 = d24;
    b2[(h6 + 3i)] = v25;
    let d26 = c7;
    let v27 = d26;
    b2[(h6 + 24i)] = v27;
    let d28 = c8;
    let v29 = d28;
    b2[(h6 + 25i)] = v29;
    let d30 = c9;
    let v31 = d30;
    b2[(h6 + 26i)] = v31;
    let d32 = c10;
    let v33 = d32;
    b2[(h6 + 27i)] = v33;
  }
}

// qkv/reduce_sum+mul
@group(0) @binding(0) var<storage, read> b0: array<f32, 232>;
@group(0) @binding(1) var<storage, read> b1: array<f32, 8>;
@group(0) @binding(2) var<storage, read> b2: array<f32, 8>;
@group(0) @binding(3) var<storage, read_write> b3: array<f32, 80>;
@group(0) @binding(4) var<storage, read_write> b4: array<f32, 80>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h2 = (i0 * 24i);
  let h8 = (i0 * 8i);
  if ((i0 < 10i)) {
    var acc1 = 0.0f;
    var acc2 = 0.0f;
    for (var k3 = 0i; k3 < 8i; k3 += 1i) {
      let h1 = (h2 + k3);
      let h0 = b0[h1];
      acc1 = (acc1 + ((h0 * h0)));
      let h3 = b0[(h1 + 8i)];
      acc2 = (acc2 + ((h3 * h3)));
    }
    let red4 = acc1;
    let red5 = acc2;
    let h5 = (inverseSqrt(((((red4 * 0.125f)) + 9.999999974752427e-7f))));
    let h6 = (inverseSqrt(((((red5 * 0.125f)) + 9.999999974752427e-7f))));
    for (var k6 = 0i; k6 < 8i; k6 += 1i) {
      let h4 = (h2 + k6);
      let v7 = ((((b0[h4] * h5)) * b1[k6]));
      let v8 = ((((b0[(h4 + 8i)] * h6)) * b2[k6]));
      let h7 = (h8 + k6);
      b3[h7] = v7;
      b4[h7] = v8;
    }
  }
}

// q_norm/attention
@group(0) @binding(0) var<storage, read> b0: array<f32, 80>;
@group(0) @binding(1) var<storage, read> b1: array<f32, 80>;
@group(0) @binding(2) var<storage, read> b2: array<f32, 240>;
@group(0) @binding(3) var<storage, read_write> b3: array<f32, 80>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h0 = (i0 % 2i);
  let h1 = (i0 / 2i);
  if ((i0 < 8i)) {
    let t1 = h0;
    let o2 = h1;
    let h4 = (o2 / 2i);
    let h3 = (h4 * 40i);
    let h5 = ((o2 % 2i) * 4i);
    let h2 = ((h3 + (t1 * 32i)) + h5);
    let q3 = (b0[h2] * 0.5f);
    let h6 = (h2 + 1i);
    let q4 = (b0[h6] * 0.5f);
    let h7 = (h2 + 2i);
    let q5 = (b0[h7] * 0.5f);
    let h8 = (h2 + 3i);
    let q6 = (b0[h8] * 0.5f);
    let h11 = (t1 * 4i);
    let h10 = (h11 + 1i);
    let h9 = ((h3 + (min(h10, 4i) * 8i)) + h5);
    let q7 = (b0[h9] * 0.5f);
    let h12 = (h9 + 1i);
    let q8 = (b0[h12] * 0.5f);
    let h13 = (h9 + 2i);
    let q9 = (b0[h13] * 0.5f);
    let h14 = (h9 + 3i);
    let q10 = (b0[h14] * 0.5f);
    let h16 = (h11 + 2i);
    let h15 = ((h3 + (min(h16, 4i) * 8i)) + h5);
    let q11 = (b0[h15] * 0.5f);
    let h17 = (h15 + 1i);
    let q12 = (b0[h17] * 0.5f);
    let h18 = (h15 + 2i);
    let q13 = (b0[h18] * 0.5f);
    let h19 = (h15 + 3i);
    let q14 = (b0[h19] * 0.5f);
    let h21 = (h11 + 3i);
    let h20 = ((h3 + (min(h21, 4i) * 8i)) + h5);
    let q15 = (b0[h20] * 0.5f);
    let h22 = (h20 + 1i);
    let q16 = (b0[h22] * 0.5f);
    let h23 = (h20 + 2i);
    let q17 = (b0[h23] * 0.5f);
    let h24 = (h20 + 3i);
    let q18 = (b0[h24] * 0.5f);
    var top19 = (-1.0000000150474662e+30f);
    var top20 = (-1.0000000150474662e+30f);
    var top21 = (-1.0000000150474662e+30f);
    var top22 = (-1.0000000150474662e+30f);
    var l23 = 0.0f;
    var l24 = 0.0f;
    var l25 = 0.0f;
    var l26 = 0.0f;
    var o27 = 0.0f;
    var o28 = 0.0f;
    var o29 = 0.0f;
    var o30 = 0.0f;
    var o31 = 0.0f;
    var o32 = 0.0f;
    var o33 = 0.0f;
    var o34 = 0.0f;
    var o35 = 0.0f;
    var o36 = 0.0f;
    var o37 = 0.0f;
    var o38 = 0.0f;
    var o39 = 0.0f;
    var o40 = 0.0f;
    var o41 = 0.0f;
    var o42 = 0.0f;
    let h27 = (h4 * 120i);
    for (var k43 = 0i; k43 < 5i; k43 += 1i) {
      let h25 = ((h3 + (k43 * 8i)) + h5);
      let k44 = b1[h25];
      let k45 = b1[(h25 + 1i)];
      let k46 = b1[(h25 + 2i)];
      let k47 = b1[(h25 + 3i)];
      var s48 = 0.0f;
      s48 = (s48 + (q3 * k44));
      s48 = (s48 + (q4 * k45));
      s48 = (s48 + (q5 * k46));
      s48 = (s48 + (q6 * k47));
      let s49 = s48;
      let m50 = max(top19, s49);
      let f51 = exp((top19 - m50));
      let p52 = exp((s49 - m50));
      top19 = m50;
      l23 = ((l23 * f51) + p52);
      var s53 = 0.0f;
      s53 = (s53 + (q7 * k44));
      s53 = (s53 + (q8 * k45));
      s53 = (s53 + (q9 * k46));
      s53 = (s53 + (q10 * k47));
      let s54 = s53;
      let m55 = max(top20, s54);
      let f56 = exp((top20 - m55));
      let p57 = exp((s54 - m55));
      top20 = m55;
      l24 = ((l24 * f56) + p57);
      var s58 = 0.0f;
      s58 = (s58 + (q11 * k44));
      s58 = (s58 + (q12 * k45));
      s58 = (s58 + (q13 * k46));
      s58 = (s58 + (q14 * k47));
      let s59 = s58;
      let m60 = max(top21, s59);
      let f61 = exp((top21 - m60));
      let p62 = exp((s59 - m60));
      top21 = m60;
      l25 = ((l25 * f61) + p62);
      var s63 = 0.0f;
      s63 = (s63 + (q15 * k44));
      s63 = (s63 + (q16 * k45));
      s63 = (s63 + (q17 * k46));
      s63 = (s63 + (q18 * k47));
      let s64 = s63;
      let m65 = max(top22, s64);
      let f66 = exp((top22 - m65));
      let p67 = exp((s64 - m65));
      top22 = m65;
      l26 = ((l26 * f66) + p67);
      let h26 = ((h27 + (k43 * 24i)) + h5);
      let w68 = b2[(h26 + 16i)];
      let w69 = b2[(h26 + 17i)];
      let w70 = b2[(h26 + 18i)];
      let w71 = b2[(h26 + 19i)];
      o27 = ((o27 * f51) + (p52 * w68));
      o28 = ((o28 * f51) + (p52 * w69));
      o29 = ((o29 * f51) + (p52 * w70));
      o30 = ((o30 * f51) + (p52 * w71));
      o31 = ((o31 * f56) + (p57 * w68));
      o32 = ((o32 * f56) + (p57 * w69));
      o33 = ((o33 * f56) + (p57 * w70));
      o34 = ((o34 * f56) + (p57 * w71));
      o35 = ((o35 * f61) + (p62 * w68));
      o36 = ((o36 * f61) + (p62 * w69));
      o37 = ((o37 * f61) + (p62 * w70));
      o38 = ((o38 * f61) + (p62 * w71));
      o39 = ((o39 * f66) + (p67 * w68));
      o40 = ((o40 * f66) + (p67 * w69));
      o41 = ((o41 * f66) + (p67 * w70));
      o42 = ((o42 * f66) + (p67 * w71));
    }
    let l72 = max(l23, 1.0000000031710769e-30f);
    let y73 = (o27 / l72);
    let y74 = (o28 / l72);
    let y75 = (o29 / l72);
    let y76 = (o30 / l72);
    let v77 = y73;
    let v78 = y74;
    let v79 = y75;
    let v80 = y76;
    b3[h2] = v77;
    b3[h6] = v78;
    b3[h7] = v79;
    b3[h8] = v80;
    let l81 = max(l24, 1.0000000031710769e-30f);
    let y82 = (o31 / l81);
    let y83 = (o32 / l81);
    let y84 = (o33 / l81);
    let y85 = (o34 / l81);
    if ((h10 < 5i)) {
      let v86 = y82;
      let v87 = y83;
      let v88 = y84;
      let v89 = y85;
      b3[h9] = v86;
      b3[h12] = v87;
      b3[h13] = v88;
      b3[h14] = v89;
    }
    let l90 = max(l25, 1.0000000031710769e-30f);
    let y91 = (o35 / l90);
    let y92 = (o36 / l90);
    let y93 = (o37 / l90);
    let y94 = (o38 / l90);
    if ((h16 < 5i)) {
      let v95 = y91;
      let v96 = y92;
      let v97 = y93;
      let v98 = y94;
      b3[h15] = v95;
      b3[h17] = v96;
      b3[h18] = v97;
      b3[h19] = v98;
    }
    let l99 = max(l26, 1.0000000031710769e-30f);
    let y100 = (o39 / l99);
    let y101 = (o40 / l99);
    let y102 = (o41 / l99);
    let y103 = (o42 / l99);
    if ((h21 < 5i)) {
      let v104 = y100;
      let v105 = y101;
      let v106 = y102;
      let v107 = y103;
      b3[h20] = v104;
      b3[h22] = v105;
      b3[h23] = v106;
      b3[h24] = v107;
    }
  }
}

// proj/contract+add
@group(0) @binding(0) var<storage, read> b0: array<f32, 80>;
@group(0) @binding(1) var<storage, read> b1: array<f32, 64>;
@group(0) @binding(2) var<storage, read> b2: array<f32, 80>;
@group(0) @binding(3) var<storage, read> b3: array<f32, 8>;
@group(0) @binding(4) var<storage, read> b4: array<f32, 8>;
@group(0) @binding(5) var<storage, read_write> b5: array<f32, 80>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h0 = (i0 / 2i);
  let h1 = (i0 % 2i);
  if ((i0 < 10i)) {
    let m1 = h0;
    let n2 = h1;
    var c3 = 0.0f;
    var c4 = 0.0f;
    var c5 = 0.0f;
    var c6 = 0.0f;
    var c7 = 0.0f;
    var c8 = 0.0f;
    var c9 = 0.0f;
    var c10 = 0.0f;
    let h3 = (m1 * 16i);
    let h5 = (n2 * 32i);
    for (var k11 = 0i; k11 < 8i; k11 += 1i) {
      let h2 = (h3 + k11);
      let l12 = b0[h2];
      let l13 = b0[(h2 + 8i)];
      let h4 = (h5 + k11);
      let r14 = b1[h4];
      let r15 = b1[(h4 + 8i)];
      let r16 = b1[(h4 + 16i)];
      let r17 = b1[(h4 + 24i)];
      c3 = (c3 + (l12 * r14));
      c4 = (c4 + (l12 * r15));
      c5 = (c5 + (l12 * r16));
      c6 = (c6 + (l12 * r17));
      c7 = (c7 + (l13 * r14));
      c8 = (c8 + (l13 * r15));
      c9 = (c9 + (l13 * r16));
      c10 = (c10 + (l13 * r17));
    }
    let d18 = c3;
    let h7 = (n2 * 4i);
    let h6 = (h3 + h7);
    let h8 = b3[h7];
    let h9 = b4[h7];
    let v19 = ((b2[h6] + ((((d18 + h8)) * h9))));
    b5[h6] = v19;
    let d20 = c4;
    let h10 = (h6 + 1i);
    let h12 = (h7 + 1i);
    let h11 = b3[h12];
    let h13 = b4[h12];
    let v21 = ((b2[h10] + ((((d20 + h11)) * h13))));
    b5[h10] = v21;
    let d22 = c5;
    let h14 = (h6 + 2i);
    let h16 = (h7 + 2i);
    let h15 = b3[h16];
    let h17 = b4[h16];
    let v23 = ((b2[h14] + ((((d22 + h15)) * h17))));
    b5[h14] = v23;
    let d24 = c6;
    let h18 = (h6 + 3i);
    let h20 = (h7 + 3i);
    let h19 = b3[h20];
    let h21 = b4[h20];
    let v25 = ((b2[h18] + ((((d24 + h19)) * h21))));
    b5[h18] = v25;
    let d26 = c7;
    let h22 = (h6 + 8i);
    let v27 = ((b2[h22] + ((((d26 + h8)) * h9))));
    b5[h22] = v27;
    let d28 = c8;
    let h23 = (h6 + 9i);
    let v29 = ((b2[h23] + ((((d28 + h11)) * h13))));
    b5[h23] = v29;
    let d30 = c9;
    let h24 = (h6 + 10i);
    let v31 = ((b2[h24] + ((((d30 + h15)) * h17))));
    b5[h24] = v31;
    let d32 = c10;
    let h25 = (h6 + 11i);
    let v33 = ((b2[h25] + ((((d32 + h19)) * h21))));
    b5[h25] = v33;
  }
}

// ls1/reduce_sum+mul
@group(0) @binding(0) var<storage, read> b0: array<f32, 80>;
@group(0) @binding(1) var<storage, read> b1: array<f32, 8>;
@group(0) @binding(2) var<storage, read_write> b2: array<f32, 80>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h1 = (i0 * 8i);
  if ((i0 < 10i)) {
    var acc1 = 0.0f;
    for (var k2 = 0i; k2 < 8i; k2 += 1i) {
      let h0 = b0[(h1 + k2)];
      acc1 = (acc1 + ((h0 * h0)));
    }
    let red3 = acc1;
    let h3 = (inverseSqrt(((((red3 * 0.125f)) + 9.999999974752427e-7f))));
    for (var k4 = 0i; k4 < 8i; k4 += 1i) {
      let h2 = (h1 + k4);
      let v5 = ((((b0[h2] * h3)) * b1[k4]));
      b2[h2] = v5;
    }
  }
}

// mlp.fc1/contract+gelu
@group(0) @binding(0) var<storage, read> b0: array<f32, 80>;
@group(0) @binding(1) var<storage, read> b1: array<f32, 128>;
@group(0) @binding(2) var<storage, read> b2: array<f32, 16>;
@group(0) @binding(3) var<storage, read_write> b3: array<f32, 160>;
fn heddle_gelu(x: f32) -> f32 {
  let z = x * 0.7071067811865476;
  let a = abs(z);
  let t = 1.0 / (1.0 + 0.3275911 * a);
  let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  let q = p * exp(-a * a); // erfc(|z|), which keeps its precision in the negative tail
  return 0.5 * x * select(q, 2.0 - q, x >= 0.0);
}
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h0 = (i0 / 4i);
  let h1 = (i0 % 4i);
  if ((i0 < 20i)) {
    let m1 = h0;
    let n2 = h1;
    var c3 = 0.0f;
    var c4 = 0.0f;
    var c5 = 0.0f;
    var c6 = 0.0f;
    var c7 = 0.0f;
    var c8 = 0.0f;
    var c9 = 0.0f;
    var c10 = 0.0f;
    let h3 = (m1 * 16i);
    let h5 = (n2 * 32i);
    for (var k11 = 0i; k11 < 8i; k11 += 1i) {
      let h2 = (h3 + k11);
      let l12 = b0[h2];
      let l13 = b0[(h2 + 8i)];
      let h4 = (h5 + k11);
      let r14 = b1[h4];
      let r15 = b1[(h4 + 8i)];
      let r16 = b1[(h4 + 16i)];
      let r17 = b1[(h4 + 24i)];
      c3 = (c3 + (l12 * r14));
      c4 = (c4 + (l12 * r15));
      c5 = (c5 + (l12 * r16));
      c6 = (c6 + (l12 * r17));
      c7 = (c7 + (l13 * r14));
      c8 = (c8 + (l13 * r15));
      c9 = (c9 + (l13 * r16));
      c10 = (c10 + (l13 * r17));
    }
    let d18 = c3;
    let h7 = (n2 * 4i);
    let h6 = b2[h7];
    let v19 = (heddle_gelu(((d18 + h6))));
    let h8 = ((m1 * 32i) + h7);
    b3[h8] = v19;
    let d20 = c4;
    let h9 = b2[(h7 + 1i)];
    let v21 = (heddle_gelu(((d20 + h9))));
    b3[(h8 + 1i)] = v21;
    let d22 = c5;
    let h10 = b2[(h7 + 2i)];
    let v23 = (heddle_gelu(((d22 + h10))));
    b3[(h8 + 2i)] = v23;
    let d24 = c6;
    let h11 = b2[(h7 + 3i)];
    let v25 = (heddle_gelu(((d24 + h11))));
    b3[(h8 + 3i)] = v25;
    let d26 = c7;
    let v27 = (heddle_gelu(((d26 + h6))));
    b3[(h8 + 16i)] = v27;
    let d28 = c8;
    let v29 = (heddle_gelu(((d28 + h9))));
    b3[(h8 + 17i)] = v29;
    let d30 = c9;
    let v31 = (heddle_gelu(((d30 + h10))));
    b3[(h8 + 18i)] = v31;
    let d32 = c10;
    let v33 = (heddle_gelu(((d32 + h11))));
    b3[(h8 + 19i)] = v33;
  }
}

// mlp.fc2/contract+add
@group(0) @binding(0) var<storage, read> b0: array<f32, 160>;
@group(0) @binding(1) var<storage, read> b1: array<f32, 128>;
@group(0) @binding(2) var<storage, read> b2: array<f32, 80>;
@group(0) @binding(3) var<storage, read> b3: array<f32, 8>;
@group(0) @binding(4) var<storage, read> b4: array<f32, 8>;
@group(0) @binding(5) var<storage, read_write> b5: array<f32, 80>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h0 = (i0 / 2i);
  let h1 = (i0 % 2i);
  if ((i0 < 10i)) {
    let m1 = h0;
    let n2 = h1;
    var c3 = 0.0f;
    var c4 = 0.0f;
    var c5 = 0.0f;
    var c6 = 0.0f;
    var c7 = 0.0f;
    var c8 = 0.0f;
    var c9 = 0.0f;
    var c10 = 0.0f;
    let h3 = (m1 * 32i);
    let h5 = (n2 * 64i);
    for (var k11 = 0i; k11 < 16i; k11 += 1i) {
      let h2 = (h3 + k11);
      let l12 = b0[h2];
      let l13 = b0[(h2 + 16i)];
      let h4 = (h5 + k11);
      let r14 = b1[h4];
      let r15 = b1[(h4 + 16i)];
      let r16 = b1[(h4 + 32i)];
      let r17 = b1[(h4 + 48i)];
      c3 = (c3 + (l12 * r14));
      c4 = (c4 + (l12 * r15));
      c5 = (c5 + (l12 * r16));
      c6 = (c6 + (l12 * r17));
      c7 = (c7 + (l13 * r14));
      c8 = (c8 + (l13 * r15));
      c9 = (c9 + (l13 * r16));
      c10 = (c10 + (l13 * r17));
    }
    let d18 = c3;
    let h7 = (n2 * 4i);
    let h6 = ((m1 * 16i) + h7);
    let h8 = b3[h7];
    let h9 = b4[h7];
    let v19 = ((b2[h6] + ((((d18 + h8)) * h9))));
    b5[h6] = v19;
    let d20 = c4;
    let h10 = (h6 + 1i);
    let h12 = (h7 + 1i);
    let h11 = b3[h12];
    let h13 = b4[h12];
    let v21 = ((b2[h10] + ((((d20 + h11)) * h13))));
    b5[h10] = v21;
    let d22 = c5;
    let h14 = (h6 + 2i);
    let h16 = (h7 + 2i);
    let h15 = b3[h16];
    let h17 = b4[h16];
    let v23 = ((b2[h14] + ((((d22 + h15)) * h17))));
    b5[h14] = v23;
    let d24 = c6;
    let h18 = (h6 + 3i);
    let h20 = (h7 + 3i);
    let h19 = b3[h20];
    let h21 = b4[h20];
    let v25 = ((b2[h18] + ((((d24 + h19)) * h21))));
    b5[h18] = v25;
    let d26 = c7;
    let h22 = (h6 + 8i);
    let v27 = ((b2[h22] + ((((d26 + h8)) * h9))));
    b5[h22] = v27;
    let d28 = c8;
    let h23 = (h6 + 9i);
    let v29 = ((b2[h23] + ((((d28 + h11)) * h13))));
    b5[h23] = v29;
    let d30 = c9;
    let h24 = (h6 + 10i);
    let v31 = ((b2[h24] + ((((d30 + h15)) * h17))));
    b5[h24] = v31;
    let d32 = c10;
    let h25 = (h6 + 11i);
    let v33 = ((b2[h25] + ((((d32 + h19)) * h21))));
    b5[h25] = v33;
  }
}
