// y[n, o, py, px] = activate(Σ_{ky, kx} w[o, ky, kx] · x[n, o / m, py·s − p + ky·d, px·s − p + kx·d] + bias[o] + residual):
// each output channel sees one channel of x, and m of them see the same.
//
// Layout  x, residual, y: rows padded to whole units. w: linear, then the biases.
// Work    one invocation computes `rows` units, one below the other. With KERNEL and STRIDE written out (a square kernel, not
//         dilated) each turn of a loop brings STRIDE more rows of the SPAN pixels that they see, and moves the others up,
//         so that each pixel is read once and there is little to compile. LEAD turns fill the window first, with EXTRA
//         rows above it; KEPT = SPAN · (KERNEL − STRIDE) pixels are moved. A row is read in whole units, from the element
//         OFFSET of the first of UNITS; UNITS_BEFORE of them lie before the row. Otherwise each unit is computed from
//         scratch.

#import common/index
#if KERNEL
#read x
#else
#read x elements
#endif
#read w elements exact
#import conv/output
#param planes: u32     // N · output channels
#param outputs: u32    // channels of y
#param multiplier: u32 // m
#param biases: u32     // where they begin in w
#param rows: u32
#import conv/window

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(workgroup, workgroups, local, WORKGROUP);
    let pitch = (params.output_x + 3u) / 4u;
    let bands = (params.output_y + params.rows - 1u) / params.rows;
    let plane = index / (pitch * bands);
    if plane >= params.planes {
        return;
    }
    let oy = index / pitch % bands * params.rows;
    let ox = index % pitch * 4u;
    let o = plane % params.outputs;
    let in_pitch = (params.input_x + 3u) / 4u;
    let first = plane / params.multiplier * params.input_y * in_pitch;
    // Where the window of the first pixel begins; before the plane it wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * params.stride_x - params.before_x;
    let weights = o * params.kernel_y * params.kernel_x;
    let bias = exact_w(params.biases, o);
    let count = min(params.rows, params.output_y - oy);
    var at = (plane * params.output_y + oy) * pitch + ox / 4u;
#if KERNEL
#for ky in KERNEL
#for kx in KERNEL
    let w{ky}_{kx} = get_w(weights + {ky}u * KERNEL + {kx}u);
#endfor
#endfor
#for j in SPAN
    let in{j} = left + {j}u < params.input_x;
#endfor
#for j in UNITS
    // Units before or beyond the row are read from within it, and not used.
    let unit{j} = first + min(max(ox / 4u * STRIDE + {j}u, UNITS_BEFORE) - UNITS_BEFORE, in_pitch - 1u);
#endfor
    var seen: array<f32, KERNEL * SPAN>;
    var row = top - EXTRA;
    for (var turn = 0u; turn < count + LEAD; turn++) {
#for i in KEPT
        seen[{i}] = seen[{i} + STRIDE * SPAN];
#endfor
#for i in STRIDE
        {
            let in_row = row < params.input_y;
            let start = select(0u, row, in_row) * in_pitch;
            var units: array<vec4<f32>, UNITS>;
#for j in UNITS
            units[{j}] = load_x(start + unit{j});
#endfor
#for j in SPAN
            seen[KEPT + {i} * SPAN + {j}] = select(0.0, units[(OFFSET + {j}) / 4][(OFFSET + {j}) % 4], in_row && in{j});
#endfor
            row++;
        }
#endfor
        // A loop is a branch that software adapters do take.
        let whole = u32(turn >= LEAD);
        for (var i = 0u; i < whole; i++) {
            var sum = vec4<f32>(bias);
#for ky in KERNEL
#for kx in KERNEL
            {
                const s = {ky} * SPAN + {kx};
                sum += w{ky}_{kx} * vec4<f32>(seen[s], seen[s + STRIDE], seen[s + 2 * STRIDE], seen[s + 3 * STRIDE]);
            }
#endfor
#endfor
            finish(at, sum);
            at += pitch;
        }
    }
#else
    for (var r = 0u; r < count; r++) {
        var sum = vec4<f32>(bias);
        for (var ky = 0u; ky < params.kernel_y; ky++) {
            let row = top + r * params.stride_y + ky * params.dilation_y;
            let in_row = row < params.input_y;
            let start = (first + select(0u, row, in_row) * in_pitch) * 4u;
            for (var kx = 0u; kx < params.kernel_x; kx++) {
                let column = left + kx * params.dilation_x + vec4<u32>(0u, 1u, 2u, 3u) * params.stride_x;
                let inside = (column < vec4<u32>(params.input_x)) & vec4<bool>(in_row);
                let e = start + select(vec4<u32>(0u), column, inside);
                let v = vec4<f32>(get_x(e.x), get_x(e.y), get_x(e.z), get_x(e.w));
                sum += get_w(weights + ky * params.kernel_x + kx) * select(vec4<f32>(0.0), v, inside);
            }
        }
        finish(at, sum);
        at += pitch;
    }
#endif
}
