// y[n, o, py, px] = activate(Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, i, py·s − p + ky, px·S − B + kx] + bias[o] + residual):
// the taps of a row written out, so that each pixel that they see is read once.
//
// Layout  x, residual, y: rows padded to whole units.
//         w: blocks of BLOCK output channels; in a block, for each row of the kernel, each INPUTS (at most four) input
//         channels and each tap of the row, a unit for each output channel; then the biases.
// Work    as in conv/subgroup.wgsl: a workgroup is one subgroup, an invocation owns one unit (four pixels of a row) ×
//         BLOCK output channels, weights are shared by broadcast. S = STRIDE, B = BEFORE. The pixels that a unit's windows
//         see in a row are SPAN in number, from the element OFFSET of the first of UNITS units of x. BLOCK = GROUPS · LANES.

#import common/activation
#read x
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
    let oy = u / pitch;
    let ox = u - oy * pitch;
    // What lies before the plane or the row wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * 4u * STRIDE - BEFORE;
    let in_pitch = (params.input_x + 3u) / 4u;
    let plane = params.input_y * in_pitch;
#for j in UNITS
    // Units before or beyond the row are read from within it, and not used.
    let unit{j} = min(max(ox * STRIDE + {j}u, UNITS_BEFORE) - UNITS_BEFORE, in_pitch - 1u);
#endfor
#for j in SPAN
    let in{j} = left + {j}u < params.input_x;
#endfor
    let first = workgroup.z * params.inputs * plane;
    let steps = (params.inputs + INPUTS - 1u) / INPUTS;
    var panel = workgroup.y * steps * params.kernel_y * KERNEL * BLOCK + lane;
#for g in GROUPS
    let b{g} = exact_w(params.biases, workgroup.y * BLOCK + {g}u * LANES + lane);
#for s in LANES
    var c{g}_{s} = vec4<f32>(subgroupBroadcast(b{g}, {s}u));
#endfor
#endfor
    for (var ky = 0u; ky < params.kernel_y; ky++) {
        let row = top + ky;
        let in_row = row < params.input_y;
        let start = first + select(0u, row, in_row) * in_pitch;
        for (var k = 0u; k < steps; k++) {
#for q in INPUTS
            // Beyond the last channel the weights are 0.
            let start{q} = start + min(k * INPUTS + {q}u, params.inputs - 1u) * plane;
            var units{q}: array<vec4<f32>, UNITS>;
#for j in UNITS
            units{q}[{j}] = load_x(start{q} + unit{j});
#endfor
            var seen{q}: array<f32, SPAN>;
#for j in SPAN
            seen{q}[{j}] = select(0.0, units{q}[(OFFSET + {j}) / 4][(OFFSET + {j}) % 4], in_row && in{j});
#endfor
#endfor
#for t in KERNEL
            {
#for q in INPUTS
                let x{q} = vec4<f32>(
                    seen{q}[{t}], seen{q}[{t} + STRIDE], seen{q}[{t} + 2 * STRIDE], seen{q}[{t} + 3 * STRIDE],
                );
#endfor
#for g in GROUPS
                let w{g} = load_w(panel + {g}u * LANES);
#for s in LANES
                {
                    let a = subgroupBroadcast(w{g}, {s}u);
#for q in INPUTS
                    c{g}_{s} += a[{q}] * x{q};
#endfor
                }
#endfor
#endfor
                panel += BLOCK;
            }
#endfor
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
