// y = cos · x + sin · x', where x' is minus the second half of a row of x, then its first half: a rotary embedding whose
// tables hold a cosine and a sine for each element.
//
// Layout  x and y are dense rows of two times `half_units` units, [outer, middle, inner] of them. Rows of the tables are as
//         long; their steps, in units, are 0 along what they are repeated for.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param half_units: u32
#param middle: u32
#param inner: u32
#param outer_step: u32
#param middle_step: u32
#param inner_step: u32
#read x
#read cosine
#read sine
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
    let row_units = 2u * params.half_units;
    let row = u / row_units;
    let i = u % row_units;
    let line = row / params.inner;
    let at = line / params.middle * params.outer_step + line % params.middle * params.middle_step
        + row % params.inner * params.inner_step + i;
    let second = i >= params.half_units;
    let other = load_x(select(u + params.half_units, u - params.half_units, second));
    let sine = load_sine(at);
    store_y(u, load_cosine(at) * load_x(u) + select(-sine, sine, second) * other);
}
