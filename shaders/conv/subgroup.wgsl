// y[n, o, py, px] = activate(Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, i, py·s − p + ky·d, px·s − p + kx·d] + bias[o] + residual)
//
// Layout  x, residual, y: rows padded to whole units.
//         w: blocks of BLOCK output channels; in a block, for each INPUTS (at most four) input channels and each tap, a
//         unit for each output channel; then the biases.
// Work    a workgroup is one subgroup. Each invocation owns one unit (four pixels of a row) × BLOCK output channels. Its
//         lanes read different weights and share them by broadcast: reads are what costs on a CPU, and so one read of a
//         weight serves 4 · LANES pixels. BLOCK = GROUPS · LANES.

#import common/activation
#read x elements
#read w exact
#if RESIDUAL
#read residual
#endif
#write y
#param alpha: f32
#param beta: f32
#param inputs: u32  // channels of x
#param outputs: u32 // channels of y
#param biases: u32  // where they begin in w
#param input_y: u32
#param output_y: u32
#param kernel_y: u32
#param stride_y: u32
#param dilation_y: u32
#param before_y: u32
#param input_x: u32
#param output_x: u32
#param kernel_x: u32
#param stride_x: u32
#param dilation_x: u32
#param before_x: u32

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pitch = (params.output_x + 3u) / 4u;
    let units = pitch * params.output_y;
    let own = workgroup.x * LANES + lane;
    // Lanes beyond the plane take part in the broadcasts, with the last unit, and store nothing.
    let u = min(own, units - 1u);
    // Where the window of the first of the four pixels begins; before the plane it wraps around and so lies beyond it.
    let top = u / pitch * params.stride_y - params.before_y;
    let left = u % pitch * 4u * params.stride_x - params.before_x;
    let row_length = (params.input_x + 3u) / 4u * 4u;
    let plane = params.input_y * row_length;
    let first = workgroup.z * params.inputs * plane;
    let steps = (params.inputs + INPUTS - 1u) / INPUTS;
    var panel = workgroup.y * steps * params.kernel_y * params.kernel_x * BLOCK + lane;
#for g in GROUPS
    let b{g} = exact_w(params.biases, workgroup.y * BLOCK + {g}u * LANES + lane);
#for s in LANES
    var c{g}_{s} = vec4<f32>(subgroupBroadcast(b{g}, {s}u));
#endfor
#endfor
    for (var k = 0u; k < steps; k++) {
        // Beyond the last channel the weights are 0.
#for q in INPUTS
        let plane{q} = first + min(k * INPUTS + {q}u, params.inputs - 1u) * plane;
#endfor
        for (var ky = 0u; ky < params.kernel_y; ky++) {
            let row = top + ky * params.dilation_y;
            let in_row = row < params.input_y;
            let start = select(0u, row, in_row) * row_length;
            for (var kx = 0u; kx < params.kernel_x; kx++) {
                let at = left + kx * params.dilation_x + vec4<u32>(0u, 1u, 2u, 3u) * params.stride_x;
                let inside = (at < vec4<u32>(params.input_x)) & vec4<bool>(in_row);
                let e = start + select(vec4<u32>(0u), at, inside);
#for g in GROUPS
                let w{g} = load_w(panel + {g}u * LANES);
#endfor
                panel += BLOCK;
#for q in INPUTS
                let r{q} = vec4<f32>(get_x(plane{q} + e.x), get_x(plane{q} + e.y), get_x(plane{q} + e.z), get_x(plane{q} + e.w));
                let x{q} = select(vec4<f32>(0.0), r{q}, inside);
#endfor
#for g in GROUPS
#for s in LANES
                {
                    let a = subgroupBroadcast(w{g}, {s}u);
#for q in INPUTS
                    c{g}_{s} += a[{q}] * x{q};
#endfor
                }
#endfor
#endfor
            }
        }
    }
    if own >= units {
        return;
    }
    let o = workgroup.y * BLOCK;
    let at = (workgroup.z * params.outputs + o) * units + u;
#for g in GROUPS
#for s in LANES
    if o + {g}u * LANES + {s}u < params.outputs {
        let at{g}_{s} = at + ({g}u * LANES + {s}u) * units;
#if RESIDUAL
        c{g}_{s} += load_residual(at{g}_{s});
#endif
        store_y(at{g}_{s}, activate(c{g}_{s}, ACTIVATION, params.alpha, params.beta));
    }
#endfor
#endfor
}
