// y[n, o, py, px] = activate(Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, g·I + i, py·s − p + ky·d, …] + bias[o] + residual)
//
// Layout  x, residual, y: channels in groups of four ("quads"). w: for each quad of outputs, each tap and each quad of its
//         inputs four units, one for each input with the weights of the four outputs; then the biases.
// Work    one invocation computes PIXELS neighbouring pixels of QUADS quads: everything stays in its registers, nothing is
//         shared, so that it runs on any device. Where the convolution is 1×1 the plane is one long row. SPLIT: see conv/part.

#import common/index
#read x
#read w exact
#import conv/output
#param invocations: u32
#param in_quads: u32      // of x
#param out_quads: u32     // of y
#param group_inputs: u32  // channels of x that an output sees
#param group_quads: u32   // quads of y in a group
#param biases: u32        // where they begin in w, in units
#import conv/window
#import conv/part

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(workgroup, workgroups, local, WORKGROUP);
    if index >= params.invocations {
        return;
    }
    // Neighbours in a workgroup take neighbouring pixels.
    let strips = (params.output_x + PIXELS - 1u) / PIXELS;
    let ox = index % strips * PIXELS;
    let oy = index / strips % params.output_y;
    let block = index / (strips * params.output_y);
    let blocks = (params.out_quads + QUADS - 1u) / QUADS;
    let index_of_y = block / blocks;
    let quad = block % blocks * QUADS;
    // Where the window of the first pixel begins; before the plane it wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * params.stride_x - params.before_x;
    let plane = params.input_y * params.input_x;
    let steps = (params.group_inputs + 3u) / 4u;
    let part = part_of_inputs(index_of_y, steps);
    let first = (part.sample * params.in_quads + quad / params.group_quads * steps) * plane;
    // A block may reach beyond the last quad: it computes that one again.
#for q in QUADS
    let quad{q} = min(quad + {q}u, params.out_quads - 1u);
    var weight{q} = (quad{q} * params.kernel_y * params.kernel_x * steps + part.begin) * 4u;
#if SPLIT
    let bias{q} = vec4<f32>();
#else
    let bias{q} = exact4_w(params.biases, quad{q});
#endif
#for p in PIXELS
    var sum{q}_{p} = bias{q};
#endfor
#endfor
    for (var ky = 0u; ky < params.kernel_y; ky++) {
        let row = top + ky * params.dilation_y;
        let in_row = row < params.input_y;
        let start = first + select(0u, row, in_row) * params.input_x;
        for (var kx = 0u; kx < params.kernel_x; kx++) {
#for p in PIXELS
            let at{p} = left + {p}u * params.stride_x + kx * params.dilation_x;
            let in{p} = in_row && at{p} < params.input_x;
            let e{p} = start + select(0u, at{p}, in{p});
#endfor
            for (var k = part.begin; k < part.end; k++) {
                // Channels beyond the last hold anything.
                let there = vec4<u32>(k * 4u) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.group_inputs);
#for p in PIXELS
                let x{p} = select(vec4<f32>(0.0), load_x(e{p} + k * plane), there & vec4<bool>(in{p}));
#endfor
#for q in QUADS
                {
                    let w0 = load_w(weight{q});
                    let w1 = load_w(weight{q} + 1u);
                    let w2 = load_w(weight{q} + 2u);
                    let w3 = load_w(weight{q} + 3u);
                    weight{q} += 4u;
#for p in PIXELS
                    sum{q}_{p} += x{p}.x * w0 + x{p}.y * w1 + x{p}.z * w2 + x{p}.w * w3;
#endfor
                }
#endfor
            }
#if SPLIT
#for q in QUADS
            weight{q} += (steps - (part.end - part.begin)) * 4u;
#endfor
#endif
        }
    }
#for q in QUADS
    if quad + {q}u < params.out_quads {
        let at = ((index_of_y * params.out_quads + quad + {q}u) * params.output_y + oy) * params.output_x + ox;
#for p in PIXELS
        if ox + {p}u < params.output_x {
            finish(at + {p}u, sum{q}_{p});
        }
#endfor
    }
#endfor
}
