// y[i] = table[KEY of x[i]]: conversions from and to small types, of which all results are known.
//
// KEY     an expression of the element `v` as it is stored: a place in the table
// Layout  any: x and y lie alike, so that padding meets padding. The table has 256 or 65,536 elements.
// Work    one invocation takes one unit of four elements.

#import common/double
#import common/index
#param units: u32
#param last: u32        // of the table
#read x
#read table elements
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
    let x = load_x(u);
    var out: y_unit;
    for (var j = 0u; j < 4u; j++) {
        let v = x[j];
        out[j] = get_table(min(#paste KEY, params.last));
    }
    store_y(u, out);
}
