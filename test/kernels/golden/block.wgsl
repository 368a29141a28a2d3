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
    var a3 = (-1.0000000150474662e+30f);
    var a4 = (-1.0000000150474662e+30f);
    var a5 = (-1.0000000150474662e+30f);
    var a6 = (-1.0000000150474662e+30f);
    var a7 = 0.0f;
    var a8 = 0.0f;
    var a9 = 0.0f;
    var a10 = 0.0f;
    var a11 = 0.0f;
    var a12 = 0.0f;
    var a13 = 0.0f;
    var a14 = 0.0f;
    var a15 = 0.0f;
    var a16 = 0.0f;
    var a17 = 0.0f;
    var a18 = 0.0f;
    var a19 = 0.0f;
    var a20 = 0.0f;
    var a21 = 0.0f;
    var a22 = 0.0f;
    var a23 = 0.0f;
    var a24 = 0.0f;
    var a25 = 0.0f;
    var a26 = 0.0f;
    let h5 = (o2 / 2i);
    let h4 = (h5 * 40i);
    let h6 = ((o2 % 2i) * 4i);
    let h3 = ((h4 + (t1 * 32i)) + h6);
    let h2 = b0[h3];
    let h10 = (h3 + 1i);
    let h9 = b0[h10];
    let h13 = (h3 + 2i);
    let h12 = b0[h13];
    let h16 = (h3 + 3i);
    let h15 = b0[h16];
    let h20 = (h5 * 120i);
    let h27 = (t1 * 4i);
    let h26 = (h27 + 1i);
    let h25 = ((h4 + (min(h26, 4i) * 8i)) + h6);
    let h24 = b0[h25];
    let h29 = (h25 + 1i);
    let h28 = b0[h29];
    let h31 = (h25 + 2i);
    let h30 = b0[h31];
    let h33 = (h25 + 3i);
    let h32 = b0[h33];
    let h36 = (h27 + 2i);
    let h35 = ((h4 + (min(h36, 4i) * 8i)) + h6);
    let h34 = b0[h35];
    let h38 = (h35 + 1i);
    let h37 = b0[h38];
    let h40 = (h35 + 2i);
    let h39 = b0[h40];
    let h42 = (h35 + 3i);
    let h41 = b0[h42];
    let h45 = (h27 + 3i);
    let h44 = ((h4 + (min(h45, 4i) * 8i)) + h6);
    let h43 = b0[h44];
    let h47 = (h44 + 1i);
    let h46 = b0[h47];
    let h49 = (h44 + 2i);
    let h48 = b0[h49];
    let h51 = (h44 + 3i);
    let h50 = b0[h51];
    for (var k27 = 0i; k27 < 5i; k27 += 1i) {
      var a28 = 0.0f;
      let h8 = ((h4 + (k27 * 8i)) + h6);
      let h7 = b1[h8];
      a28 = (a28 + (h2 * h7));
      let h11 = b1[(h8 + 1i)];
      a28 = (a28 + (h9 * h11));
      let h14 = b1[(h8 + 2i)];
      a28 = (a28 + (h12 * h14));
      let h17 = b1[(h8 + 3i)];
      a28 = (a28 + (h15 * h17));
      let s29 = a28;
      let x30 = (s29 * 0.5f);
      let m31 = max(a3, x30);
      let f32 = exp((a3 - m31));
      let p33 = exp((x30 - m31));
      a3 = m31;
      a7 = ((a7 * f32) + p33);
      let h19 = ((h20 + (k27 * 24i)) + h6);
      let h18 = b2[(h19 + 16i)];
      a11 = ((a11 * f32) + (p33 * h18));
      let h21 = b2[(h19 + 17i)];
      a12 = ((a12 * f32) + (p33 * h21));
      let h22 = b2[(h19 + 18i)];
      a13 = ((a13 * f32) + (p33 * h22));
      let h23 = b2[(h19 + 19i)];
      a14 = ((a14 * f32) + (p33 * h23));
      var a34 = 0.0f;
      a34 = (a34 + (h24 * h7));
      a34 = (a34 + (h28 * h11));
      a34 = (a34 + (h30 * h14));
      a34 = (a34 + (h32 * h17));
      let s35 = a34;
      let x36 = (s35 * 0.5f);
      let m37 = max(a4, x36);
      let f38 = exp((a4 - m37));
      let p39 = exp((x36 - m37));
      a4 = m37;
      a8 = ((a8 * f38) + p39);
      a15 = ((a15 * f38) + (p39 * h18));
      a16 = ((a16 * f38) + (p39 * h21));
      a17 = ((a17 * f38) + (p39 * h22));
      a18 = ((a18 * f38) + (p39 * h23));
      var a40 = 0.0f;
      a40 = (a40 + (h34 * h7));
      a40 = (a40 + (h37 * h11));
      a40 = (a40 + (h39 * h14));
      a40 = (a40 + (h41 * h17));
      let s41 = a40;
      let x42 = (s41 * 0.5f);
      let m43 = max(a5, x42);
      let f44 = exp((a5 - m43));
      let p45 = exp((x42 - m43));
      a5 = m43;
      a9 = ((a9 * f44) + p45);
      a19 = ((a19 * f44) + (p45 * h18));
      a20 = ((a20 * f44) + (p45 * h21));
      a21 = ((a21 * f44) + (p45 * h22));
      a22 = ((a22 * f44) + (p45 * h23));
      var a46 = 0.0f;
      a46 = (a46 + (h43 * h7));
      a46 = (a46 + (h46 * h11));
      a46 = (a46 + (h48 * h14));
      a46 = (a46 + (h50 * h17));
      let s47 = a46;
      let x48 = (s47 * 0.5f);
      let m49 = max(a6, x48);
      let f50 = exp((a6 - m49));
      let p51 = exp((x48 - m49));
      a6 = m49;
      a10 = ((a10 * f50) + p51);
      a23 = ((a23 * f50) + (p51 * h18));
      a24 = ((a24 * f50) + (p51 * h21));
      a25 = ((a25 * f50) + (p51 * h22));
      a26 = ((a26 * f50) + (p51 * h23));
    }
    let l52 = max(a7, 1.0000000031710769e-30f);
    let l53 = (a3 + log(l52));
    let y54 = (a11 / l52);
    let v55 = y54;
    b3[h3] = v55;
    let y56 = (a12 / l52);
    let v57 = y56;
    b3[h10] = v57;
    let y58 = (a13 / l52);
    let v59 = y58;
    b3[h13] = v59;
    let y60 = (a14 / l52);
    let v61 = y60;
    b3[h16] = v61;
    let l62 = max(a8, 1.0000000031710769e-30f);
    let l63 = (a4 + log(l62));
    if ((h26 < 5i)) {
      let y64 = (a15 / l62);
      let v65 = y64;
      b3[h25] = v65;
      let y66 = (a16 / l62);
      let v67 = y66;
      b3[h29] = v67;
      let y68 = (a17 / l62);
      let v69 = y68;
      b3[h31] = v69;
      let y70 = (a18 / l62);
      let v71 = y70;
      b3[h33] = v71;
    }
    let l72 = max(a9, 1.0000000031710769e-30f);
    let l73 = (a5 + log(l72));
    if ((h36 < 5i)) {
      let y74 = (a19 / l72);
      let v75 = y74;
      b3[h35] = v75;
      let y76 = (a20 / l72);
      let v77 = y76;
      b3[h38] = v77;
      let y78 = (a21 / l72);
      let v79 = y78;
      b3[h40] = v79;
      let y80 = (a22 / l72);
      let v81 = y80;
      b3[h42] = v81;
    }
    let l82 = max(a10, 1.0000000031710769e-30f);
    let l83 = (a6 + log(l82));
    if ((h45 < 5i)) {
      let y84 = (a23 / l82);
      let v85 = y84;
      b3[h44] = v85;
      let y86 = (a24 / l82);
      let v87 = y86;
      b3[h47] = v87;
      let y88 = (a25 / l82);
      let v89 = y88;
      b3[h49] = v89;
      let y90 = (a26 / l82);
      let v91 = y90;
      b3[h51] = v91;
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
