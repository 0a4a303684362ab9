// y[n, o, py, px] = f(Σ_{ky, kx} w[o, ky, kx] · x[n, o, py·s − p + ky·d, px·s − p + kx·d]) of 8-bit integers: each channel for
// itself; f stands in packed_sums.
//
// Layout  x, y: words of four neighbouring channels. w: for each quad of channels and each tap a word of the four weights.
// Work    one invocation computes COLUMNS × ROWS pixels of a quad. With KERNEL written out (its width and height; not dilated,
//         steps of STRIDE) it reads each of the SPAN × LINES pixels that they see once.

#import common/index
#import quantize/packed_sums
#param invocations: u32
#param out_quads: u32
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
    let across = (params.output_x + COLUMNS - 1u) / COLUMNS;
    let down = (params.output_y + ROWS - 1u) / ROWS;
    let ox = index % across * COLUMNS;
    let oy = index / across % down * ROWS;
    let plane = index / (across * down);
    let sample = plane / params.out_quads;
    let quad = plane % params.out_quads;
    let first = sample * params.x_sample + quad * params.x_quad;
    // Where the window of the first pixel begins; before the plane it wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * params.stride_x - params.before_x;
    let weight = quad * params.kernel_y * params.kernel_x;
    let begin = load_t(quad);
    let outside = outside_x();
#for r in ROWS
#for c in COLUMNS
    var sum{r}_{c} = begin;
#endfor
#endfor
#if KERNEL
#for ky in KERNEL
#for kx in KERNEL
    let w{ky}_{kx} = unpack4xI8(word_w(weight + {ky}u * KERNEL + {kx}u));
#endfor
#endfor
#for j in SPAN
    let in{j} = left + {j}u < params.input_x;
    let at{j} = first + select(0u, left + {j}u, in{j}) * params.x_pixel;
#endfor
#for i in LINES
    {
        let row = top + {i}u;
        let in_row = row < params.input_y;
        let start = select(0u, row, in_row) * params.input_x * params.x_pixel;
        var seen: array<vec4<i32>, SPAN>;
#for j in SPAN
        seen[{j}] = unpack4xI8(select(outside, word_x(at{j} + start) ^ params.flip, in_row && in{j}));
#endfor
#for r in ROWS
#for ky in KERNEL
        if {r} * STRIDE + {ky} == {i} {
#for c in COLUMNS
#for kx in KERNEL
            sum{r}_{c} += w{ky}_{kx} * seen[{c} * STRIDE + {kx}];
#endfor
#endfor
        }
#endfor
#endfor
    }
#endfor
#else
    for (var ky = 0u; ky < params.kernel_y; ky++) {
        let row = top + ky * params.dilation_y;
        for (var kx = 0u; kx < params.kernel_x; kx++) {
            let column = left + kx * params.dilation_x;
            let inside = row < params.input_y && column < params.input_x;
            let at = first + select(0u, row * params.input_x + column, inside) * params.x_pixel;
            let x = unpack4xI8(select(outside, word_x(at) ^ params.flip, inside));
            sum0_0 += unpack4xI8(word_w(weight + ky * params.kernel_x + kx)) * x;
        }
    }
#endif
    let factor = floats_of(1u, quad);
#if REST
    let rest = floats_of(2u, quad);
#else
    let rest = vec4<f32>();
#endif
    let at = sample * params.y_sample + quad * params.y_quad + (oy * params.output_x + ox) * params.y_pixel;
#for r in ROWS
#for c in COLUMNS
    if oy + {r}u < params.output_y && ox + {c}u < params.output_x {
        finish(at + ({r}u * params.output_x + {c}u) * params.y_pixel, sum{r}_{c}, factor, rest);
    }
#endfor
#endfor
}
