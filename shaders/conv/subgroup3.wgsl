// y[n, o, py, px] = activate(Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, i, py·S − p + ky, px·S − B + kx] + bias[o] + residual):
// a kernel three wide, a stride of one or two, no dilation and a padding of at most one before a row.
//
// Layout  x, residual, y: rows padded to whole units.
//         w: blocks of BLOCK output channels; in a block, for each INPUTS (at most four) input channels and each tap, a
//         unit for each output channel; then the biases.
// Work    as in conv/subgroup.wgsl: a workgroup is one subgroup, an invocation owns one unit (four pixels of a row) ×
//         BLOCK output channels, weights are shared by broadcast. Here the pixels of a row that the three taps see are
//         read once, in whole units where they lie in whole units. S = STRIDE, B = BEFORE, BLOCK = GROUPS · LANES.

#import common/activation
#read x
#read w
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
    let top = u / pitch * params.stride_y - params.before_y;
    let in_pitch = (params.input_x + 3u) / 4u;
    // The first unit of x that starts at or after the window, its neighbours, and which of the pixels seen are in the row;
    // before it they wrap around and so lie beyond it.
    let unit = u % pitch * STRIDE;
    let left = unit * 4u - BEFORE;
    let unit_before = min(max(unit, 1u), in_pitch) - 1u;
    let unit0 = min(unit, in_pitch - 1u);
    let unit1 = min(unit + 1u, in_pitch - 1u);
    let unit2 = min(unit + 2u, in_pitch - 1u);
#for j in SPAN
    let in{j} = left + {j}u < params.input_x;
#endfor
    let plane = params.input_y * in_pitch;
    let first = workgroup.z * params.inputs * plane;
    let steps = (params.inputs + INPUTS - 1u) / INPUTS;
    var panel = workgroup.y * steps * params.kernel_y * 3u * BLOCK + lane;
#for g in GROUPS
    let b{g} = get_w(params.biases + workgroup.y * BLOCK + {g}u * LANES + lane);
#for s in LANES
    var c{g}_{s} = vec4<f32>(subgroupBroadcast(b{g}, {s}u));
#endfor
#endfor
    for (var k = 0u; k < steps; k++) {
        for (var ky = 0u; ky < params.kernel_y; ky++) {
            let row = top + ky;
            let in_row = row < params.input_y;
            let start = first + select(0u, row, in_row) * in_pitch;
#for q in INPUTS
            // Beyond the last channel the weights are 0.
            let start{q} = start + min(k * INPUTS + {q}u, params.inputs - 1u) * plane;
            var seen{q}: array<f32, SPAN + 3>;
            {
                let v0 = load_x(start{q} + unit0);
#if BEFORE
                seen{q}[0] = load_x(start{q} + unit_before).w;
#if STRIDE == 1
                seen{q}[5] = load_x(start{q} + unit1).x;
#endif
#else
#if STRIDE == 1
                let v1 = load_x(start{q} + unit1).xy;
                seen{q}[4] = v1.x;
                seen{q}[5] = v1.y;
#else
                seen{q}[8] = load_x(start{q} + unit2).x;
#endif
#endif
                seen{q}[BEFORE] = v0.x;
                seen{q}[BEFORE + 1] = v0.y;
                seen{q}[BEFORE + 2] = v0.z;
                seen{q}[BEFORE + 3] = v0.w;
#if STRIDE == 2
                let v1 = load_x(start{q} + unit1);
                seen{q}[BEFORE + 4] = v1.x;
                seen{q}[BEFORE + 5] = v1.y;
                seen{q}[BEFORE + 6] = v1.z;
                seen{q}[BEFORE + 7] = v1.w;
#endif
            }
#for j in SPAN
            seen{q}[{j}] = select(0.0, seen{q}[{j}], in_row && in{j});
#endfor
#endfor
#for t in 3
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
