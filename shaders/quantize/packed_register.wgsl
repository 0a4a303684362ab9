// y[n, o, py, px] = f(Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, g·I + i, py·s − p + ky·d, px·s − p + kx·d]) of 8-bit integers, or the
// product of a matrix x by w, each row a pixel; f stands in packed_sums.
//
// Layout  x, y: words of four neighbouring channels ("quads"). w: for each quad of outputs, each tap and each quad of its
//         inputs a word for each of the four outputs.
// Work    one invocation computes PIXELS neighbouring pixels of QUADS quads, in its registers. Where the convolution is 1×1 the
//         plane is one long row.

#import common/index
#import quantize/packed_sums
#param invocations: u32
#param out_quads: u32     // of y
#param steps: u32         // quads of x that an output sees
#param group_quads: u32   // quads of y in a group
#import conv/window

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
    let sample = block / blocks;
    let quad = block % blocks * QUADS;
    // Where the window of the first pixel begins; before the plane it wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * params.stride_x - params.before_x;
    let first = sample * params.x_sample + quad / params.group_quads * params.steps * params.x_quad;
    let outside = outside_x();
    // A block may reach beyond the last quad: it computes that one again.
#for q in QUADS
    let quad{q} = min(quad + {q}u, params.out_quads - 1u);
    var weight{q} = quad{q} * params.kernel_y * params.kernel_x * params.steps * 4u;
    let begin{q} = load_t(quad{q});
#for p in PIXELS
    var sum{q}_{p} = begin{q};
#endfor
#endfor
    for (var ky = 0u; ky < params.kernel_y; ky++) {
        let row = top + ky * params.dilation_y;
        let in_row = row < params.input_y;
        let start = select(0u, row, in_row) * params.input_x;
        for (var kx = 0u; kx < params.kernel_x; kx++) {
#for p in PIXELS
            let at{p} = left + {p}u * params.stride_x + kx * params.dilation_x;
            let in{p} = in_row && at{p} < params.input_x;
            let e{p} = first + (start + select(0u, at{p}, in{p})) * params.x_pixel;
#endfor
            for (var k = 0u; k < params.steps; k++) {
#for p in PIXELS
                let x{p} = select(outside, word_x(e{p} + k * params.x_quad) ^ params.flip, in{p});
#endfor
#for q in QUADS
                {
                    let w0 = word_w(weight{q});
                    let w1 = word_w(weight{q} + 1u);
                    let w2 = word_w(weight{q} + 2u);
                    let w3 = word_w(weight{q} + 3u);
                    weight{q} += 4u;
#for p in PIXELS
                    sum{q}_{p} += vec4<i32>(
                        dot4I8Packed(x{p}, w0), dot4I8Packed(x{p}, w1), dot4I8Packed(x{p}, w2), dot4I8Packed(x{p}, w3),
                    );
#endfor
                }
#endfor
            }
        }
    }
#for q in QUADS
    if quad + {q}u < params.out_quads {
        let factor = floats_of(1u, quad{q});
#if REST
        let rest = floats_of(2u, quad{q});
#else
        let rest = vec4<f32>();
#endif
        let at = sample * params.y_sample + quad{q} * params.y_quad + (oy * params.output_x + ox) * params.y_pixel;
#for p in PIXELS
        if ox + {p}u < params.output_x {
            finish(at + {p}u * params.y_pixel, sum{q}_{p}, factor, rest);
        }
#endfor
    }
#endfor
}
