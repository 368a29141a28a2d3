// norm1/reduce_sum+mul
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>, 20>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f32>, 2>;
@group(0) @binding(2) var<storage, read_write> b2: array<vec4<f32>, 20>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let wid_z = i32(wid.z);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h2 = (i0 * 2i);
  if ((i0 < 10i)) {
    var acc1 = 0.0f;
    for (var k2 = wid_z; k2 < 2i; k2 += 1i) {
      let h1 = b0[(h2 + k2)];
      let h0 = h1.x;
      acc1 = (acc1 + ((h0 * h0)));
      let h3 = h1.y;
      acc1 = (acc1 + ((h3 * h3)));
      let h4 = h1.z;
      acc1 = (acc1 + ((h4 * h4)));
      let h5 = h1.w;
      acc1 = (acc1 + ((h5 * h5)));
    }
    let red3 = acc1;
    let h8 = (inverseSqrt(((((red3 * 0.125f)) + 9.999999974752427e-7f))));
    for (var k4 = wid_z; k4 < 2i; k4 += 1i) {
      let h7 = (h2 + k4);
      let h6 = b0[h7];
      let h9 = b1[k4];
      let v5 = ((((h6.x * h8)) * h9.x));
      let v6 = ((((h6.y * h8)) * h9.y));
      let v7 = ((((h6.z * h8)) * h9.z));
      let v8 = ((((h6.w * h8)) * h9.w));
      b2[h7] = vec4<f32>(v5, v6, v7, v8);
    }
  }
}

// qkv/contract
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>, 20>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f32>, 48>;
@group(0) @binding(2) var<storage, read_write> b2: array<f32, 240>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let wid_z = i32(wid.z);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h0 = (i0 / 12i);
  let h1 = (i0 % 12i);
  if ((i0 < 60i)) {
    let m1 = h0;
    let n2 = h1;
    var c3 = 0.0f;
    var c4 = 0.0f;
    var c5 = 0.0f;
    var c6 = 0.0f;
    let h4 = (m1 * 4i);
    let h8 = (n2 * 4i);
    for (var k8 = wid_z; k8 < 2i; k8 += 1i) {
      let h3 = (h4 + k8);
      let h2 = b0[h3];
      let l9 = h2.x;
      let h5 = b0[(h3 + 2i)];
      let l10 = h5.x;
      let h7 = (h8 + k8);
      let h6 = b1[h7];
      let r11 = h6.x;
      let h9 = b1[(h7 + 2i)];
      let r12 = h9.x;
      c3 = (c3 + (l9 * r11));
      c4 = (c4 + (l9 * r12));
      c5 = (c5 + (l10 * r11));
      c6 = (c6 + (l10 * r12));
      let l13 = h2.y;
      let l14 = h5.y;
      let r15 = h6.y;
      let r16 = h9.y;
      c3 = (c3 + (l13 * r15));
      c4 = (c4 + (l13 * r16));
      c5 = (c5 + (l14 * r15));
      c6 = (c6 + (l14 * r16));
      let l17 = h2.z;
      let l18 = h5.z;
      let r19 = h6.z;
      let r20 = h9.z;
      c3 = (c3 + (l17 * r19));
      c4 = (c4 + (l17 * r20));
      c5 = (c5 + (l18 * r19));
      c6 = (c6 + (l18 * r20));
      let l21 = h2.w;
      let l22 = h5.w;
      let r23 = h6.w;
      let r24 = h9.w;
      c3 = (c3 + (l21 * r23));
      c4 = (c4 + (l21 * r24));
      c5 = (c5 + (l22 * r23));
      c6 = (c6 + (l22 * r24));
    }
    let d25 = c3;
    let v26 = d25;
    let h10 = ((m1 * 48i) + (n2 * 2i));
    b2[h10] = v26;
    let d27 = c4;
    let v28 = d27;
    b2[(h10 + 1i)] = v28;
    let d29 = c5;
    let v30 = d29;
    b2[(h10 + 24i)] = v30;
    let d31 = c6;
    let v32 = d31;
    b2[(h10 + 25i)] = v32;
  }
}

// k_norm/reduce_sum+mul
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>, 58>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f32>, 2>;
@group(0) @binding(2) var<storage, read> b2: array<vec4<f32>, 2>;
@group(0) @binding(3) var<storage, read_write> b3: array<vec4<f32>, 20>;
@group(0) @binding(4) var<storage, read_write> b4: array<vec4<f32>, 20>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let wid_z = i32(wid.z);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h3 = (i0 * 6i);
  let h20 = (i0 * 2i);
  if ((i0 < 10i)) {
    var acc1 = 0.0f;
    var acc2 = 0.0f;
    for (var k3 = wid_z; k3 < 2i; k3 += 1i) {
      let h2 = (h3 + k3);
      let h1 = b0[h2];
      let h0 = h1.x;
      acc1 = (acc1 + ((h0 * h0)));
      let h5 = b0[(h2 + 2i)];
      let h4 = h5.x;
      acc2 = (acc2 + ((h4 * h4)));
      let h6 = h1.y;
      acc1 = (acc1 + ((h6 * h6)));
      let h7 = h5.y;
      acc2 = (acc2 + ((h7 * h7)));
      let h8 = h1.z;
      acc1 = (acc1 + ((h8 * h8)));
      let h9 = h5.z;
      acc2 = (acc2 + ((h9 * h9)));
      let h10 = h1.w;
      acc1 = (acc1 + ((h10 * h10)));
      let h11 = h5.w;
      acc2 = (acc2 + ((h11 * h11)));
    }
    let red4 = acc1;
    let red5 = acc2;
    let h14 = (inverseSqrt(((((red4 * 0.125f)) + 9.999999974752427e-7f))));
    let h17 = (inverseSqrt(((((red5 * 0.125f)) + 9.999999974752427e-7f))));
    for (var k6 = wid_z; k6 < 2i; k6 += 1i) {
      let h13 = (h3 + k6);
      let h12 = b0[h13];
      let h15 = b1[k6];
      let v7 = ((((h12.x * h14)) * h15.x));
      let h16 = b0[(h13 + 2i)];
      let h18 = b2[k6];
      let v8 = ((((h16.x * h17)) * h18.x));
      let v9 = ((((h12.y * h14)) * h15.y));
      let v10 = ((((h16.y * h17)) * h18.y));
      let v11 = ((((h12.z * h14)) * h15.z));
      let v12 = ((((h16.z * h17)) * h18.z));
      let v13 = ((((h12.w * h14)) * h15.w));
      let v14 = ((((h16.w * h17)) * h18.w));
      let h19 = (h20 + k6);
      b3[h19] = vec4<f32>(v7, v9, v11, v13);
      b4[h19] = vec4<f32>(v8, v10, v12, v14);
    }
  }
}

// q_norm/attention
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>, 20>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f32>, 20>;
@group(0) @binding(2) var<storage, read> b2: array<vec4<f32>, 60>;
@group(0) @binding(3) var<storage, read_write> b3: array<vec4<f32>, 20>;
var<private> p3: array<vec4<f32>, 1>;
var<private> p22: array<vec4<f32>, 1>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let wid_z = i32(wid.z);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h0 = (i0 % 5i);
  let h1 = (i0 / 5i);
  if ((i0 < 20i)) {
    let t1 = h0;
    let o2 = h1;
    let h5 = (o2 / 2i);
    let h4 = (h5 * 10i);
    let h6 = (o2 % 2i);
    let h3 = ((h4 + (t1 * 2i)) + h6);
    let h2 = b0[h3];
    for (var e5 = wid_z; e5 < 1i; e5 += 1i) {
      p3[0i] = h2;
    }
    var a6 = (-1.0000000150474662e+30f);
    var a7 = 0.0f;
    var a8 = 0.0f;
    var a9 = 0.0f;
    var a10 = 0.0f;
    var a11 = 0.0f;
    let h9 = (h5 * 30i);
    for (var k12 = wid_z; k12 < 5i; k12 += 1i) {
      var a13 = 0.0f;
      var a14 = 0.0f;
      var a15 = 0.0f;
      var a16 = 0.0f;
      let h7 = b1[((h4 + (k12 * 2i)) + h6)];
      a13 = (a13 + (p3[0i].x * h7.x));
      a14 = (a14 + (p3[0i].y * h7.y));
      a15 = (a15 + (p3[0i].z * h7.z));
      a16 = (a16 + (p3[0i].w * h7.w));
      let s17 = (((a13 + a14) + a15) + a16);
      let x18 = (s17 * 0.5f);
      let m19 = max(a6, x18);
      let f20 = exp((a6 - m19));
      let p21 = exp((x18 - m19));
      a6 = m19;
      a7 = ((a7 * f20) + p21);
      let h8 = b2[(((h9 + (k12 * 6i)) + h6) + 4i)];
      a8 = ((a8 * f20) + (p21 * h8.x));
      a9 = ((a9 * f20) + (p21 * h8.y));
      a10 = ((a10 * f20) + (p21 * h8.z));
      a11 = ((a11 * f20) + (p21 * h8.w));
    }
    let l23 = max(a7, 1.0000000031710769e-30f);
    let l24 = (a6 + log(l23));
    p22[0i] = vec4<f32>((a8 / l23), (a9 / l23), (a10 / l23), (a11 / l23));
    for (var e26 = wid_z; e26 < 1i; e26 += 1i) {
      let y27 = p22[0i].x;
      let v28 = y27;
      let y29 = p22[0i].y;
      let v30 = y29;
      let y31 = p22[0i].z;
      let v32 = y31;
      let y33 = p22[0i].w;
      let v34 = y33;
      b3[h3] = vec4<f32>(v28, v30, v32, v34);
    }
  }
}

// proj/contract+add
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>, 20>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f32>, 16>;
@group(0) @binding(2) var<storage, read> b2: array<f32, 80>;
@group(0) @binding(3) var<storage, read> b3: array<f32, 8>;
@group(0) @binding(4) var<storage, read> b4: array<f32, 8>;
@group(0) @binding(5) var<storage, read_write> b5: array<f32, 80>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let wid_z = i32(wid.z);
  let lid = i32(local);
  let i1 = ((wid_x * 32i) + lid);
  let h0 = (i1 / 4i);
  let h1 = (i1 % 4i);
  if ((i1 < 20i)) {
    let m2 = h0;
    let n3 = h1;
    var c4 = 0.0f;
    var c5 = 0.0f;
    var c6 = 0.0f;
    var c7 = 0.0f;
    let h4 = (m2 * 4i);
    let h8 = (n3 * 4i);
    for (var k9 = wid_z; k9 < 2i; k9 += 1i) {
      let h3 = (h4 + k9);
      let h2 = b0[h3];
      let l10 = h2.x;
      let h5 = b0[(h3 + 2i)];
      let l11 = h5.x;
      let h7 = (h8 + k9);
      let h6 = b1[h7];
      let r12 = h6.x;
      let h9 = b1[(h7 + 2i)];
      let r13 = h9.x;
      c4 = (c4 + (l10 * r12));
      c5 = (c5 + (l10 * r13));
      c6 = (c6 + (l11 * r12));
      c7 = (c7 + (l11 * r13));
      let l14 = h2.y;
      let l15 = h5.y;
      let r16 = h6.y;
      let r17 = h9.y;
      c4 = (c4 + (l14 * r16));
      c5 = (c5 + (l14 * r17));
      c6 = (c6 + (l15 * r16));
      c7 = (c7 + (l15 * r17));
      let l18 = h2.z;
      let l19 = h5.z;
      let r20 = h6.z;
      let r21 = h9.z;
      c4 = (c4 + (l18 * r20));
      c5 = (c5 + (l18 * r21));
      c6 = (c6 + (l19 * r20));
      c7 = (c7 + (l19 * r21));
      let l22 = h2.w;
      let l23 = h5.w;
      let r24 = h6.w;
      let r25 = h9.w;
      c4 = (c4 + (l22 * r24));
      c5 = (c5 + (l22 * r25));
      c6 = (c6 + (l23 * r24));
      c7 = (c7 + (l23 * r25));
    }
    let d26 = c4;
    let h11 = (n3 * 2i);
    let h10 = ((m2 * 16i) + h11);
    let h12 = b3[h11];
    let h13 = b4[h11];
    let v27 = ((b2[h10] + ((((d26 + h12)) * h13))));
    b5[h10] = v27;
    let d28 = c5;
    let h14 = (h10 + 1i);
    let h16 = (h11 + 1i);
    let h15 = b3[h16];
    let h17 = b4[h16];
    let v29 = ((b2[h14] + ((((d28 + h15)) * h17))));
    b5[h14] = v29;
    let d30 = c6;
    let h18 = (h10 + 8i);
    let v31 = ((b2[h18] + ((((d30 + h12)) * h13))));
    b5[h18] = v31;
    let d32 = c7;
    let h19 = (h10 + 9i);
    let v33 = ((b2[h19] + ((((d32 + h15)) * h17))));
    b5[h19] = v33;
  }
}

// norm2/reduce_sum+mul
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>, 20>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f32>, 2>;
@group(0) @binding(2) var<storage, read_write> b2: array<vec4<f32>, 20>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let wid_z = i32(wid.z);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h2 = (i0 * 2i);
  if ((i0 < 10i)) {
    var acc1 = 0.0f;
    for (var k2 = wid_z; k2 < 2i; k2 += 1i) {
      let h1 = b0[(h2 + k2)];
      let h0 = h1.x;
      acc1 = (acc1 + ((h0 * h0)));
      let h3 = h1.y;
      acc1 = (acc1 + ((h3 * h3)));
      let h4 = h1.z;
      acc1 = (acc1 + ((h4 * h4)));
      let h5 = h1.w;
      acc1 = (acc1 + ((h5 * h5)));
    }
    let red3 = acc1;
    let h8 = (inverseSqrt(((((red3 * 0.125f)) + 9.999999974752427e-7f))));
    for (var k4 = wid_z; k4 < 2i; k4 += 1i) {
      let h7 = (h2 + k4);
      let h6 = b0[h7];
      let h9 = b1[k4];
      let v5 = ((((h6.x * h8)) * h9.x));
      let v6 = ((((h6.y * h8)) * h9.y));
      let v7 = ((((h6.z * h8)) * h9.z));
      let v8 = ((((h6.w * h8)) * h9.w));
      b2[h7] = vec4<f32>(v5, v6, v7, v8);
    }
  }
}

// mlp.fc1/contract+gelu
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>, 20>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f32>, 32>;
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
  let wid_z = i32(wid.z);
  let lid = i32(local);
  let i0 = ((wid_x * 32i) + lid);
  let h0 = (i0 / 8i);
  let h1 = (i0 % 8i);
  if ((i0 < 40i)) {
    let m1 = h0;
    let n2 = h1;
    var c3 = 0.0f;
    var c4 = 0.0f;
    var c5 = 0.0f;
    var c6 = 0.0f;
    let h4 = (m1 * 4i);
    let h8 = (n2 * 4i);
    for (var k8 = wid_z; k8 < 2i; k8 += 1i) {
      let h3 = (h4 + k8);
      let h2 = b0[h3];
      let l9 = h2.x;
      let h5 = b0[(h3 + 2i)];
      let l10 = h5.x;
      let h7 = (h8 + k8);
      let h6 = b1[h7];
      let r11 = h6.x;
      let h9 = b1[(h7 + 2i)];
      let r12 = h9.x;
      c3 = (c3 + (l9 * r11));
      c4 = (c4 + (l9 * r12));
      c5 = (c5 + (l10 * r11));
      c6 = (c6 + (l10 * r12));
      let l13 = h2.y;
      let l14 = h5.y;
      let r15 = h6.y;
      let r16 = h9.y;
      c3 = (c3 + (l13 * r15));
      c4 = (c4 + (l13 * r16));
      c5 = (c5 + (l14 * r15));
      c6 = (c6 + (l14 * r16));
      let l17 = h2.z;
      let l18 = h5.z;
      let r19 = h6.z;
      let r20 = h9.z;
      c3 = (c3 + (l17 * r19));
      c4 = (c4 + (l17 * r20));
      c5 = (c5 + (l18 * r19));
      c6 = (c6 + (l18 * r20));
      let l21 = h2.w;
      let l22 = h5.w;
      let r23 = h6.w;
      let r24 = h9.w;
      c3 = (c3 + (l21 * r23));
      c4 = (c4 + (l21 * r24));
      c5 = (c5 + (l22 * r23));
      c6 = (c6 + (l22 * r24));
    }
    let d25 = c3;
    let h11 = (n2 * 2i);
    let h10 = b2[h11];
    let v26 = (heddle_gelu(((d25 + h10))));
    let h12 = ((m1 * 32i) + h11);
    b3[h12] = v26;
    let d27 = c4;
    let h13 = b2[(h11 + 1i)];
    let v28 = (heddle_gelu(((d27 + h13))));
    b3[(h12 + 1i)] = v28;
    let d29 = c5;
    let v30 = (heddle_gelu(((d29 + h10))));
    b3[(h12 + 16i)] = v30;
    let d31 = c6;
    let v32 = (heddle_gelu(((d31 + h13))));
    b3[(h12 + 17i)] = v32;
  }
}

// mlp.fc2/contract+add
@group(0) @binding(0) var<storage, read> b0: array<vec4<f32>, 40>;
@group(0) @binding(1) var<storage, read> b1: array<vec4<f32>, 32>;
@group(0) @binding(2) var<storage, read> b2: array<f32, 80>;
@group(0) @binding(3) var<storage, read> b3: array<f32, 8>;
@group(0) @binding(4) var<storage, read> b4: array<f32, 8>;
@group(0) @binding(5) var<storage, read_write> b5: array<f32, 80>;
@compute @workgroup_size(32, 1, 1)
fn main(@builtin(workgroup_id) wid: vec3<u32>, @builtin(local_invocation_index) local: u32) {
  let wid_x = i32(wid.x);
  let wid_z = i32(wid.z);
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
    let h4 = (m1 * 8i);
    let h8 = (n2 * 8i);
    for (var k8 = wid_z; k8 < 4i; k8 += 1i) {
      let h3 = (h4 + k8);
      let h2 = b0[h3];
      let l9 = h2.x;
      let h5 = b0[(h3 + 4i)];
      let l10 = h5.x;
      let h7 = (h8 + k8);
      let h6 = b1[h7];
      let r11 = h6.x;
      let h9 = b1[(h7 + 4i)];
      let r12 = h9.x;
      c3 = (c3 + (l9 * r11));
      c4 = (c4 + (l9 * r12));
      c5 = (c5 + (l10 * r11));
      c6 = (c6 + (l10 * r12));
      let l13 = h2.y;
      let l14 = h5.y;
      let r15 = h6.y;
      let r16 = h9.y;
      c3 = (c3 + (l13 * r15));
      c4 = (c4 + (l13 * r16));
      c5 = (c5 + (l14 * r15));
      c6 = (c6 + (l14 * r16));
      let l17 = h2.z;
      let l18 = h5.z;
      let r19 = h6.z;
      let r20 = h9.z;
      c3 = (c3 + (l17 * r19));
      c4 = (c4 + (l17 * r20));
      c5 = (c5 + (l18 * r19));
      c6 = (c6 + (l18 * r20));
      let l21 = h2.w;
      let l22 = h5.w;
      let r23 = h6.w;
      let r24 = h9.w;
      c3 = (c3 + (l21 * r23));
      c4 = (c4 + (l21 * r24));
      c5 = (c5 + (l22 * r23));
      c6 = (c6 + (l22 * r24));
    }
    let d25 = c3;
    let h11 = (n2 * 2i);
    let h10 = ((m1 * 16i) + h11);
    let h12 = b3[h11];
    let h13 = b4[h11];
    let v26 = ((b2[h10] + ((((d25 + h12)) * h13))));
    b5[h10] = v26;
    let d27 = c4;
    let h14 = (h10 + 1i);
    let h16 = (h11 + 1i);
    let h15 = b3[h16];
    let h17 = b4[h16];
    let v28 = ((b2[h14] + ((((d27 + h15)) * h17))));
    b5[h14] = v28;
    let d29 = c5;
    let h18 = (h10 + 8i);
    let v30 = ((b2[h18] + ((((d29 + h12)) * h13))));
    b5[h18] = v30;
    let d31 = c6;
    let h19 = (h10 + 9i);
    let v32 = ((b2[h19] + ((((d31 + h15)) * h17))));
    b5[h19] = v32;
  }
}
