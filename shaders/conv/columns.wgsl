// y[n, o, p] = b[o] + Σ_t w[o, t] · seen[n, g, t, p]: the products of the weights with what they see, `terms` of them in the
// group g of the output channel o.
//
// Layout  all linear; a sample of `seen` has `all_terms` rows of `positions`.
// Work    one invocation computes one unit: four neighbouring elements of y.

#import common/index
#read w elements
#read seen elements
#if BIAS
#read b elements
#endif
#write y
#param units: u32
#param elements: u32
#param positions: u32
#param outputs: u32
#param group_outputs: u32
#param terms: u32
#param all_terms: u32

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
    let e = min(vec4<u32>(u * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.elements - 1u));
    let map = e / params.positions;
    let o = map % params.outputs;
    var row = map / params.outputs * params.all_terms + o / params.group_outputs * params.terms;
    row = row * params.positions + e % params.positions;
    let cell = o * params.terms;
    var sum = vec4<f32>(0.0);
    for (var t = 0u; t < params.terms; t++) {
        let v = vec4<f32>(get_seen(row.x), get_seen(row.y), get_seen(row.z), get_seen(row.w));
        let w = vec4<f32>(get_w(cell.x + t), get_w(cell.y + t), get_w(cell.z + t), get_w(cell.w + t));
        sum = fma(v, w, sum);
        row += params.positions;
    }
#if BIAS
    sum += vec4<f32>(get_b(o.x), get_b(o.y), get_b(o.z), get_b(o.w));
#endif
    store_y(u, sum);
}
