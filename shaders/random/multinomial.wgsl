// y[b, s] = k with the probability e^x[b, k] / Σ_j e^x[b, j]: Multinomial.
//
// Layout  dense; x has `classes` columns, y `samples`.
// Work    one invocation takes one unit of y; for each of its elements it goes through a row of x: for its largest value,
//         for the sum, and until the part of the sum that the random number names is reached.

#import common/index
#import common/math
#import random/philox
#param units: u32
#param elements: u32    // of y
#param classes: u32
#param samples: u32
#param key0: u32
#param key1: u32
#read x elements
#write y

// What is no number has no probability.
fn logarithm(e: u32) -> f32 {
    let v = vec4<f32>(get_x(e));
    return select(clamp(v, vec4<f32>(-1e30), vec4<f32>(1e30)), vec4<f32>(-1e30), is_nan4(v)).x;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let unit = linear_index(workgroup, workgroups, local, WORKGROUP);
    if unit >= params.units {
        return;
    }
    let u = unit_interval(philox(vec4<u32>(unit, 0u, 0u, 0u), vec2<u32>(params.key0, params.key1)));
    var out = vec4<i32>(0);
    for (var j = 0u; j < 4u; j++) {
        let row = min((unit << 2u) + j, params.elements - 1u) / params.samples * params.classes;
        var largest = logarithm(row);
        for (var k = 1u; k < params.classes; k++) {
            largest = max(largest, logarithm(row + k));
        }
        var sum = 0.0;
        for (var k = 0u; k < params.classes; k++) {
            sum += exp4(vec4<f32>(logarithm(row + k) - largest)).x;
        }
        let wanted = u[j] * sum;
        var part = 0.0;
        var k = 0u;
        for (; k + 1u < params.classes; k++) {
            part += exp4(vec4<f32>(logarithm(row + k) - largest)).x;
            if part > wanted {
                break;
            }
        }
        out[j] = i32(k);
    }
    store_y(unit, y_unit(out));
}
