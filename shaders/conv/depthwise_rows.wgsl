// y[n, o, py, px] = activate(Σ_{ky, kx} w[o, ky, kx] · x[n, o / m, py·s − p + ky·d, px·s − p + kx·d] + bias[o] + residual):
// each output channel sees one channel of x, and m of them see the same.
//
// Layout  x, residual, y: rows padded to whole units. w: linear, then the biases.
// Work    one invocation computes ROWS units, one below the other. With KERNEL and STRIDE written out (a square kernel,
//         not dilated) it reads the pixels that they see once: IN_ROWS rows of SPAN pixels. Otherwise ROWS is 1.

#import common/index
#read x elements
#read w elements exact
#import conv/output
#param planes: u32     // N · output channels
#param outputs: u32    // channels of y
#param multiplier: u32 // m
#param biases: u32     // where they begin in w
#import conv/window

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(workgroup, workgroups, local, WORKGROUP);
    let pitch = (params.output_x + 3u) / 4u;
    let bands = (params.output_y + ROWS - 1u) / ROWS;
    let plane = index / (pitch * bands);
    if plane >= params.planes {
        return;
    }
    let oy = index / pitch % bands * ROWS;
    let ox = index % pitch * 4u;
    let o = plane % params.outputs;
    let row_length = (params.input_x + 3u) / 4u * 4u;
    let first = plane / params.multiplier * params.input_y * row_length;
    // Where the window of the first pixel begins; before the plane it wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * params.stride_x - params.before_x;
    let weights = o * params.kernel_y * params.kernel_x;
    let bias = exact_w(params.biases, o);
#for r in ROWS
    var sum{r} = vec4<f32>(bias);
#endfor
#if KERNEL
#for j in SPAN
    let in{j} = left + {j}u < params.input_x;
    let at{j} = select(0u, left + {j}u, in{j});
#endfor
    var seen: array<f32, IN_ROWS * SPAN>;
#for i in IN_ROWS
    let in_row{i} = top + {i}u < params.input_y;
    let start{i} = first + select(0u, top + {i}u, in_row{i}) * row_length;
#for j in SPAN
    seen[{i} * SPAN + {j}] = select(0.0, get_x(start{i} + at{j}), in_row{i} && in{j});
#endfor
#endfor
#for ky in KERNEL
#for kx in KERNEL
    {
        let w = get_w(weights + {ky}u * KERNEL + {kx}u);
#for r in ROWS
        const s{r} = ({r} * STRIDE + {ky}) * SPAN + {kx};
        sum{r} += w * vec4<f32>(seen[s{r}], seen[s{r} + STRIDE], seen[s{r} + 2 * STRIDE], seen[s{r} + 3 * STRIDE]);
#endfor
    }
#endfor
#endfor
#else
    for (var ky = 0u; ky < params.kernel_y; ky++) {
        let row = top + ky * params.dilation_y;
        let in_row = row < params.input_y;
        let start = first + select(0u, row, in_row) * row_length;
        for (var kx = 0u; kx < params.kernel_x; kx++) {
            let at = left + kx * params.dilation_x + vec4<u32>(0u, 1u, 2u, 3u) * params.stride_x;
            let inside = (at < vec4<u32>(params.input_x)) & vec4<bool>(in_row);
            let e = start + select(vec4<u32>(0u), at, inside);
            let v = vec4<f32>(get_x(e.x), get_x(e.y), get_x(e.z), get_x(e.w));
            sum0 += get_w(weights + ky * params.kernel_x + kx) * select(vec4<f32>(0.0), v, inside);
        }
    }
#endif
#for r in ROWS
    if oy + {r}u < params.output_y {
        let at = (plane * params.output_y + oy + {r}u) * pitch + ox / 4u;
        finish(at, sum{r});
    }
#endfor
}
