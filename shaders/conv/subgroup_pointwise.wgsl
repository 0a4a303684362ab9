// y[n, o, p] = activate(Σ_i w[o, i] · x[n, i, p] + bias[o] + residual[n, o, p]): a 1×1 convolution, a matrix product.
//
// Layout  x, residual, y: rows padded to whole units; the pixels of a plane are one long row of units.
//         w: blocks of BLOCK output channels; in a block, for each four input channels, a unit for each output channel;
//         then the biases.
// Work    a workgroup is one subgroup. Each invocation owns one unit (four pixels) × BLOCK output channels. Its lanes read
//         different weights and share them by broadcast: reads are what costs on a CPU, and so one read of a weight
//         serves 4 · LANES pixels. BLOCK = GROUPS · LANES.

#import common/activation
#read x
#read w exact
#if RESIDUAL
#read residual
#endif
#write y
#param alpha: f32
#param beta: f32
#param units: u32   // of a plane
#param inputs: u32  // channels of x
#param outputs: u32 // channels of y
#param biases: u32  // where they begin in w

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let own = workgroup.x * LANES + lane;
    // Lanes beyond the plane take part in the broadcasts, with the last unit, and store nothing.
    let u = min(own, params.units - 1u);
    let column = workgroup.z * params.inputs * params.units + u;
    let last = params.inputs - 1u;
    let steps = (params.inputs + 3u) / 4u;
    let panel = workgroup.y * steps * BLOCK + lane;
#for g in GROUPS
    let b{g} = exact_w(params.biases, workgroup.y * BLOCK + {g}u * LANES + lane);
#for s in LANES
    var c{g}_{s} = vec4<f32>(subgroupBroadcast(b{g}, {s}u));
#endfor
#endfor
    for (var k = 0u; k < steps; k++) {
#for g in GROUPS
        let w{g} = load_w(panel + k * BLOCK + {g}u * LANES);
#endfor
        // Beyond the last channel the weights are 0.
#for q in 4
        let x{q} = load_x(column + min(k * 4u + {q}u, last) * params.units);
#endfor
#for g in GROUPS
#for s in LANES
        {
            let a = subgroupBroadcast(w{g}, {s}u);
            c{g}_{s} += a.x * x0 + a.y * x1 + a.z * x2 + a.w * x3;
        }
#endfor
#endfor
    }
    if own >= params.units {
        return;
    }
    let o = workgroup.y * BLOCK;
    let at = (workgroup.z * params.outputs + o) * params.units + u;
#for g in GROUPS
#for s in LANES
    if o + {g}u * LANES + {s}u < params.outputs {
        let at{g}_{s} = at + ({g}u * LANES + {s}u) * params.units;
#if RESIDUAL
        c{g}_{s} += load_residual(at{g}_{s});
#endif
        store_y(at{g}_{s}, activate(c{g}_{s}, ACTIVATION, params.alpha, params.beta));
    }
#endfor
#endfor
}
