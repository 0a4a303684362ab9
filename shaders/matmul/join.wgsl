// y = activation(alpha * Σ_p partial[p] + beta * c + r): the sums over parts of k (see part.wgsl) added up, always in the
// same order.
//
// Layout  partial: for each part the product's units as they lie in y; y: rows of n padded to units; b: bound where c lies
//         behind it; c: see finish.wgsl.
// Work    one invocation makes one unit of y.

#import common/index
#param units: u32 // of y
#param n4: u32
#param parts: u32
#read partial
#if BIAS == 2
#if BITS
#read b
#else
#read b exact
#endif
#endif
#if BIAS == 1
#read c
#endif
#if RESIDUAL
#read r
#endif
#write y
#import matmul/finish

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, 64u);
    if u >= params.units {
        return;
    }
    var sum = load_partial(u);
    for (var p = 1u; p < params.parts; p++) {
        sum += load_partial(p * params.units + u);
    }
    store_y(u, finish(sum, u / params.n4, u % params.n4, u));
}
