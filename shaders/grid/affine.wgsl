// y[n, p, j] = Σ_k theta[n, j, k] · (p, 1)_k: places under affine maps.
//
// Layout  theta: [N, axes, axes + 1], y: [N, positions…, axes], linear. The coordinates of p, first_i + step_i · index along
//         axis i, are counted innermost axis first.
// Work    one invocation computes one unit of y.

#import common/index
#param units: u32
#param elements: u32
#param axes: u32
#for i in 3
#param size{i}: u32
#param first{i}: f32
#param step{i}: f32
#endfor
#read theta elements
#write y

fn output(e: u32) -> f32 {
    let row = e % params.axes;
    var rest = e / params.axes;
#for i in 3
    let at{i} = params.first{i} + params.step{i} * f32(rest % params.size{i});
    rest = rest / params.size{i};
#endfor
    let base = (rest * params.axes + row) * (params.axes + 1u);
    var sum = get_theta(base) * at0 + get_theta(base + 1u) * at1;
    if params.axes > 2u {
        sum += get_theta(base + 2u) * at2;
    }
    return sum + get_theta(base + params.axes);
}

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
    let last = params.elements - 1u;
    let e = u * 4u;
    store_y(u, y_unit(output(e), output(min(e + 1u, last)), output(min(e + 2u, last)), output(min(e + 3u, last))));
}
