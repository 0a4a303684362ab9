// y = the maximum of the x in a window, over up to three axes, and place = its index in x: the first of equals.
//
// Layout  x, y, place: linear.
// Work    one invocation computes one unit of each: four neighbouring elements, each from scratch.

#import common/index
#import pool/window
#import pool/join
#param columns_first: u32 // whether indices count the last axis as the outermost of the spatial ones
#read x elements
#write y
#write place

struct Found {
    value: x_element,
    place: u32,
}

// One output, by its index in y.
fn output(element: u32) -> Found {
    let plane = element / (params.output_x * params.output_y);
    let tx = taps_x(element % params.output_x);
    let ty = taps_y((element / params.output_x) % params.output_y);
    let tz = taps_z(plane % params.output_z);
    let map = plane / params.output_z;
    // Where none is larger than the lowest number, the first is meant; a window wholly in the padding has none.
    var found = Found(NEUTRAL, 0u);
    var seen = false;
    for (var kz = 0u; kz < tz.end - tz.first; kz++) {
        for (var ky = 0u; ky < ty.end - ty.first; ky++) {
            let z = tz.position + kz * params.dilation_z;
            let y = ty.position + ky * params.dilation_y;
            for (var kx = 0u; kx < tx.end - tx.first; kx++) {
                let x = tx.position + kx * params.dilation_x;
                let v = get_x(((map * params.input_z + z) * params.input_y + y) * params.input_x + x);
                if v > found.value || !seen {
                    let rows = (map * params.input_z + z) * params.input_y + y;
                    let columns = (map * params.input_x + x) * params.input_y + y;
                    let place = select(rows * params.input_x + x, columns * params.input_z + z, params.columns_first == 1u);
                    found = Found(max(v, found.value), place);
                    seen = true;
                }
            }
        }
    }
    return found;
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
    var values = y_unit();
    var places = place_unit();
    for (var k = 0u; k < 4u; k++) {
        let found = output(min(u * 4u + k, params.elements - 1u));
        values[k] = found.value;
        places[k] = place_element(found.place);
    }
    store_y(u, values);
    store_place(u, places);
}
