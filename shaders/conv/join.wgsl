// y = activate(Σ_p partial[p] + bias[o] + residual): the sums over parts of the inputs (see part.wgsl) added up, always in the
// same order.
//
// Layout  partial: for each part the result's units as they lie in y; w: the weights and behind them the biases; residual, y:
//         channels in groups of four ("quads").
// Work    one invocation makes one unit of y.

#import common/index
#read partial
#read w exact
#import conv/output
#param units: u32 // of y
#param parts: u32
#param area: u32      // pixels of a plane of y
#param out_quads: u32
#param biases: u32    // where they begin in w, in units

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    var sum = exact4_w(params.biases, u / params.area % params.out_quads);
    for (var p = 0u; p < params.parts; p++) {
        sum += load_partial(p * params.units + u);
    }
    finish(u, sum);
}
