// y = det x for each matrix, by elimination with pivots.
//
// Layout  x: dense matrices of `size` rows one after another; y: dense. w: room for the matrices, a unit holding the same
//         element of four of them.
// Work    one invocation takes four matrices at once, one in each lane of a unit.

#import common/index
#param units: u32
#param count: u32
#param size: u32
#read x elements
#update w
#write y

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
    let n = params.size;
    let base = u * n * n;
    // The padding of the last unit repeats the last matrix.
    let matrices = min(vec4<u32>(u * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(params.count - 1u)) * (n * n);
    for (var i = 0u; i < n * n; i++) {
        store_w(base + i, vec4<f32>(
            get_x(matrices.x + i), get_x(matrices.y + i), get_x(matrices.z + i), get_x(matrices.w + i),
        ));
    }
    var determinant = vec4<f32>(1.0);
    for (var c = 0u; c < n; c++) {
        // In each lane, the row with the largest element of column c.
        var largest = abs(load_w(base + c * n + c));
        var pivot = vec4<u32>(c);
        for (var r = c + 1u; r < n; r++) {
            let v = abs(load_w(base + r * n + c));
            pivot = select(pivot, vec4<u32>(r), v > largest);
            largest = max(largest, v);
        }
        for (var r = c + 1u; r < n; r++) {
            let swapped = pivot == vec4<u32>(r);
            for (var j = c; j < n; j++) {
                let upper = load_w(base + c * n + j);
                let lower = load_w(base + r * n + j);
                store_w(base + c * n + j, select(upper, lower, swapped));
                store_w(base + r * n + j, select(lower, upper, swapped));
            }
        }
        let own = load_w(base + c * n + c);
        determinant *= select(own, -own, pivot != vec4<u32>(c));
        let divisor = select(own, vec4<f32>(1.0), own == vec4<f32>(0.0));
        for (var r = c + 1u; r < n; r++) {
            let factor = load_w(base + r * n + c) / divisor;
            for (var j = c + 1u; j < n; j++) {
                store_w(base + r * n + j, load_w(base + r * n + j) - factor * load_w(base + c * n + j));
            }
        }
    }
    store_y(u, determinant);
}
