// y = (Σ |x|^p)^(1/p) over the x in a window, over up to three axes.
//
// The largest magnitude m is taken out first, m · (Σ (|x| / m)^p)^(1/p), so that no power is too large or too small.
//
// Layout  x, y: linear.
// Work    one invocation computes one unit: four neighbouring elements of y, each from scratch.

#import common/index
#import common/math
#import pool/window
#param p: u32
#read x elements
#write y

// Over the window of an output: the largest magnitude, or the sum of the powers of magnitudes, each multiplied by `factor`.
fn window(element: u32, factor: f32, powers: bool) -> f32 {
    let plane = element / (params.output_x * params.output_y);
    let tx = taps_x(element % params.output_x);
    let ty = taps_y((element / params.output_x) % params.output_y);
    let tz = taps_z(plane % params.output_z);
    let first = plane / params.output_z * params.input_z;
    var found = 0.0;
    for (var kz = 0u; kz < tz.end - tz.first; kz++) {
        for (var ky = 0u; ky < ty.end - ty.first; ky++) {
            let z = first + tz.position + kz * params.dilation_z;
            let row = (z * params.input_y + ty.position + ky * params.dilation_y) * params.input_x;
            for (var kx = 0u; kx < tx.end - tx.first; kx++) {
                let v = abs(get_x(row + tx.position + kx * params.dilation_x)) * factor;
                if powers {
                    found += power(v);
                } else {
                    found = max(found, v);
                }
            }
        }
    }
    return found;
}

// v^p
fn power(v: f32) -> f32 {
    var n = params.p;
    var square = v;
    var product = 1.0;
    while n > 0u {
        product = select(product, product * square, (n & 1u) == 1u);
        square = square * square;
        n = n >> 1u;
    }
    return product;
}

fn output(element: u32) -> f32 {
    let largest = window(element, 1.0, false);
    // Of zeros, and of what is taken for zero, nothing is left to divide by.
    if largest < 1e-37 {
        return largest;
    }
    let sum = window(element, 1.0 / largest, true);
    if params.p == 1u {
        return largest * sum;
    }
    if params.p == 2u {
        return largest * sqrt(sum);
    }
    return largest * pow4(vec4<f32>(sum), vec4<f32>(1.0 / f32(params.p))).x;
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
