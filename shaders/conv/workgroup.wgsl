// y[n, o, p] = activate(Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, i, py·s − p + ky·d, px·s − p + kx·d] + bias[o] + residual)
//
// Layout  x, residual, y: channels in groups of four ("quads"). w: for each quad of outputs, each tap and each quad of
//         inputs four units, one for each input with the weights of the four outputs; then the biases.
// Work    a product of matrices that are never made: a workgroup of 8 × 8 computes 32 pixels × 8 · QUADS quads. For each tap
//         and each four quads of inputs it brings the pixels and the weights that it needs into workgroup memory, once
//         for all; each invocation then computes four pixels × QUADS quads from there. SPLIT: see conv/part.

#read x
#read w exact
#import conv/output
#param inputs: u32    // channels of x
#param out_quads: u32 // of y
#param biases: u32    // where they begin in w, in units
#import conv/window
#import conv/part

var<workgroup> pixels: array<vec4<f32>, 128>;          // [quad of inputs][pixel]
var<workgroup> weights: array<vec4<f32>, 128 * QUADS>; // [quad of outputs][quad of inputs][input]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let steps = (params.inputs + 3u) / 4u;
    let plane = params.input_y * params.input_x;
    let area = params.output_y * params.output_x;
    let part = part_of_inputs(workgroup.z, steps);
    let first = part.sample * steps * plane;
    // The pixel that this invocation brings, and the first of the quads of inputs for which it does so.
    let brought = min(workgroup.x * 32u + local % 32u, area - 1u);
    let brought_k = local / 32u;
    // Where that pixel's window begins; before the plane it wraps around and so lies beyond it.
    let top = brought / params.output_x * params.stride_y - params.before_y;
    let left = brought % params.output_x * params.stride_x - params.before_x;
    // What this invocation computes: pixels eight apart, quads of outputs eight apart.
    let own_pixel = local % 8u;
    let own_quad = local / 8u;
    let quad = workgroup.y * 8u * QUADS;
#for q in QUADS
#if SPLIT
    let bias{q} = vec4<f32>();
#else
    let bias{q} = exact4_w(params.biases, min(quad + own_quad + {q}u * 8u, params.out_quads - 1u));
#endif
#for p in 4
    var sum{q}_{p} = bias{q};
#endfor
#endfor
    for (var tap = 0u; tap < params.kernel_y * params.kernel_x; tap++) {
        let row = top + tap / params.kernel_x * params.dilation_y;
        let column = left + tap % params.kernel_x * params.dilation_x;
        let inside = row < params.input_y && column < params.input_x;
        let at = first + select(0u, row * params.input_x + column, inside);
        for (var k = part.begin; k < part.end; k += 4u) {
            workgroupBarrier();
#for j in 2
            {
                let kq = brought_k + {j}u * 2u;
                // Channels beyond the last hold anything.
                let channel = vec4<u32>((k + kq) * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
                let there = (channel < vec4<u32>(params.inputs)) & vec4<bool>(inside);
                let v = load_x(at + min(k + kq, steps - 1u) * plane);
                pixels[kq * 32u + local % 32u] = select(vec4<f32>(0.0), v, there);
            }
#endfor
#for q in QUADS
#for j in 2
            {
                let slot = local + {j}u * 64u + {q}u * 128u;
                let row_of_w = min(quad + slot / 16u, params.out_quads - 1u) * params.kernel_y * params.kernel_x + tap;
                weights[slot] = load_w((row_of_w * steps + min(k + slot / 4u % 4u, steps - 1u)) * 4u + slot % 4u);
            }
#endfor
#endfor
            workgroupBarrier();
            for (var kq = 0u; kq < 4u; kq++) {
#for p in 4
                let x{p} = pixels[kq * 32u + own_pixel + {p}u * 8u];
#endfor
#for q in QUADS
                {
                    let w = ((own_quad + {q}u * 8u) * 4u + kq) * 4u;
                    let w0 = weights[w];
                    let w1 = weights[w + 1u];
                    let w2 = weights[w + 2u];
                    let w3 = weights[w + 3u];
#for p in 4
                    sum{q}_{p} += x{p}.x * w0 + x{p}.y * w1 + x{p}.z * w2 + x{p}.w * w3;
#endfor
                }
#endfor
            }
        }
    }
#for q in QUADS
    if quad + own_quad + {q}u * 8u < params.out_quads {
        let start = (workgroup.z * params.out_quads + quad + own_quad + {q}u * 8u) * area;
#for p in 4
        {
            let pixel = workgroup.x * 32u + own_pixel + {p}u * 8u;
            if pixel < area {
                finish(start + pixel, sum{q}_{p});
            }
        }
#endfor
    }
#endfor
}
