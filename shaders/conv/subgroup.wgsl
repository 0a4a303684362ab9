// y[n, o, py, px] = activate(Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, i, py·s − p + ky·d, px·s − p + kx·d] + bias[o] + residual)
//
// Layout  x, residual, y: rows padded to whole units. Where the convolution is 1×1 the plane is one long row.
//         w: blocks of BLOCK output channels; in a block, for each TAPS taps of a row of the kernel, each INPUTS (at most
//         four) input channels and each of these taps, a unit for each output channel; then the biases.
// Work    a workgroup is one subgroup; neighbours take the next blocks of channels of the same pixels, whose weights are
//         read in their order while x stays in the cache. Each invocation owns one unit (four pixels of a row) × BLOCK output channels. Its
//         lanes read different weights and share them by broadcast: reads are what costs on a CPU, and so one read of a
//         weight serves 4 · LANES pixels. BLOCK = GROUPS · LANES, REST = BLOCK − LANES.
//         With KERNEL = TAPS, a row's taps are written out (not dilated, a stride of STRIDE, a padding of BEFORE): the
//         SPAN pixels that the unit's windows see in a row of x are read once, in whole units, from the element OFFSET of
//         the first of UNITS. Otherwise TAPS is 1. PADDED tells whether a window can reach beyond x.

#if KERNEL
#read x
#else
#read x elements
#endif
#read w exact
#import conv/output
#param inputs: u32  // channels of x
#param outputs: u32 // channels of y
#param biases: u32  // where they begin in w
#import conv/window

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let pitch = (params.output_x + 3u) / 4u;
    let units = pitch * params.output_y;
    let own = workgroup.y * LANES + lane;
    // Lanes beyond the plane take part in the broadcasts, with the last unit, and store nothing.
    let u = min(own, units - 1u);
    let oy = u / pitch;
    let ox = u - oy * pitch;
    // Where the window of the first of the four pixels begins; before the plane it wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * 4u * params.stride_x - params.before_x;
    let in_pitch = (params.input_x + 3u) / 4u;
#if KERNEL
#for j in UNITS
    // Units before or beyond the row are read from within it, and not used.
    let unit{j} = min(max(ox * STRIDE + {j}u, UNITS_BEFORE) - UNITS_BEFORE, in_pitch - 1u);
#endfor
#for j in SPAN
    let in{j} = left + {j}u < params.input_x;
#endfor
#endif
    let plane = params.input_y * in_pitch;
    let first = workgroup.z * params.inputs * plane;
    let steps = (params.inputs + INPUTS - 1u) / INPUTS;
    let runs = params.kernel_y * params.kernel_x / TAPS;
    var panel = workgroup.x * runs * steps * TAPS * BLOCK + lane;
    var c: array<vec4<f32>, BLOCK>;
#for g in GROUPS
    let b{g} = exact_w(params.biases, workgroup.x * BLOCK + {g}u * LANES + lane);
#for s in LANES
    c[{g} * LANES + {s}] = vec4<f32>(subgroupBroadcast(b{g}, {s}u));
#endfor
#endfor
    for (var run = 0u; run < runs; run++) {
        let ky = run * TAPS / params.kernel_x;
        let row = top + ky * params.dilation_y;
        let in_row = row < params.input_y;
        let start = first + select(0u, row, in_row) * in_pitch;
#if !KERNEL
        let kx = run - ky * params.kernel_x;
        let column = left + kx * params.dilation_x + vec4<u32>(0u, 1u, 2u, 3u) * params.stride_x;
        let inside = (column < vec4<u32>(params.input_x)) & vec4<bool>(in_row);
        let at = select(vec4<u32>(0u), column, inside);
#endif
        for (var k = 0u; k < steps; k++) {
#for q in INPUTS
            // Beyond the last channel the weights are 0.
            let start{q} = start + min(k * INPUTS + {q}u, params.inputs - 1u) * plane;
#if KERNEL
            var units{q}: array<vec4<f32>, UNITS>;
#for j in UNITS
            units{q}[{j}] = load_x(start{q} + unit{j});
#endfor
            var seen{q}: array<f32, SPAN>;
#for j in SPAN
#if PADDED
            seen{q}[{j}] = select(0.0, units{q}[(OFFSET + {j}) / 4][(OFFSET + {j}) % 4], in_row && in{j});
#else
            seen{q}[{j}] = units{q}[(OFFSET + {j}) / 4][(OFFSET + {j}) % 4];
#endif
#endfor
#else
            let e{q} = start{q} * 4u + at;
            let seen{q} = select(vec4<f32>(0.0), vec4<f32>(get_x(e{q}.x), get_x(e{q}.y), get_x(e{q}.z), get_x(e{q}.w)), inside);
#endif
#endfor
#for t in TAPS
            {
#for q in INPUTS
#if KERNEL
                let x{q} = vec4<f32>(
                    seen{q}[{t}], seen{q}[{t} + STRIDE], seen{q}[{t} + 2 * STRIDE], seen{q}[{t} + 3 * STRIDE],
                );
#else
                let x{q} = seen{q};
#endif
#endfor
#for g in GROUPS
                let w{g} = load_w(panel + {g}u * LANES);
#for s in LANES
                {
                    let a = subgroupBroadcast(w{g}, {s}u);
#for q in INPUTS
                    c[{g} * LANES + {s}] += a[{q}] * x{q};
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
    // Each turn takes the first LANES channels and brings the next ones to their place: written out for all of them, the
    // reads and writes would be most of what a software adapter has to compile.
    let o = workgroup.x * BLOCK;
    var left_over = params.outputs - o;
    var at = (workgroup.z * params.outputs + o) * units + u;
    for (var g = 0u; g < GROUPS && left_over > 0u; g++) {
#for s in LANES
        if {s}u < left_over {
            finish(at + {s}u * units, c[{s}]);
        }
#endfor
        at += LANES * units;
        left_over -= min(LANES, left_over);
#for i in REST
        c[{i}] = c[{i} + LANES];
#endfor
    }
}
