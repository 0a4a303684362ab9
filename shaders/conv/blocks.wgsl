// y[n, c, q] = Σ x[n, c · taps + k, p] over all elements k of a block and all blocks p with p·stride − before + k·dilation = q,
// over up to three axes: each element of y gathers what is added into it.
//
// Layout  x, y: linear. `input` sizes are those of y, `output` sizes count the blocks.
// Work    one invocation computes one unit: four neighbouring elements of y.

#import common/index
#read x elements
#write y
#param units: u32
#param elements: u32
#param input_z: u32
#param output_z: u32
#param kernel_z: u32
#param stride_z: u32
#param dilation_z: u32
#param before_z: u32
#import conv/window

fn output(e: u32) -> x_element {
    let blocks = params.output_z * params.output_y * params.output_x;
    let left = e % params.input_x + params.before_x;
    let top = e / params.input_x % params.input_y + params.before_y;
    let plane = e / (params.input_x * params.input_y);
    let front = plane % params.input_z + params.before_z;
    let taps = params.kernel_z * params.kernel_y * params.kernel_x;
    var row = plane / params.input_z * taps;
    var sum = x_element(0);
    for (var kz = 0u; kz < params.kernel_z; kz++) {
        // Before the first block these wrap around, to places beyond the last one.
        let tz = front - kz * params.dilation_z;
        let z = tz / params.stride_z;
        for (var ky = 0u; ky < params.kernel_y; ky++) {
            let ty = top - ky * params.dilation_y;
            let y = ty / params.stride_y;
            for (var kx = 0u; kx < params.kernel_x; kx++) {
                let tx = left - kx * params.dilation_x;
                let x = tx / params.stride_x;
                let inside = z < params.output_z && y < params.output_y && x < params.output_x;
                let met = z * params.stride_z == tz && y * params.stride_y == ty && x * params.stride_x == tx;
                if inside && met {
                    sum += get_x(row * blocks + (z * params.output_y + y) * params.output_x + x);
                }
                row++;
            }
        }
    }
    return sum;
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
