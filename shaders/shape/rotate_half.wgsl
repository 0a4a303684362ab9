// y = cos · x + sin · x', where x' is minus the second half of a row of x, then its first half: a rotary embedding whose
// tables hold a cosine and a sine for each element.
//
// Layout  x and y are dense rows of two times `half`, [outer, middle, inner] of them. Rows of the tables are as long; their
//         steps are 0 along what they are repeated for. Halves, steps and `count` are units, with ELEMENTS elements, where
//         halves are no whole units.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param count: u32       // of all of x
#param half: u32
#param middle: u32
#param inner: u32
#param outer_step: u32
#param middle_step: u32
#param inner_step: u32
#if ELEMENTS
#read x elements
#read cosine elements
#read sine elements
#else
#read x
#read cosine
#read sine
#endif
#write y

// Where the angles of a row of x begin.
fn angle(row: u32) -> u32 {
    let line = row / params.inner;
    return line / params.middle * params.outer_step + line % params.middle * params.middle_step
        + row % params.inner * params.inner_step;
}

#if ELEMENTS
fn turned(e: u32) -> f32 {
    let length = 2u * params.half;
    let i = e % length;
    let at = angle(e / length) + i;
    let second = i >= params.half;
    let other = get_x(select(e + params.half, e - params.half, second));
    let sine = get_sine(at);
    return get_cosine(at) * get_x(e) + select(-sine, sine, second) * other;
}
#endif

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
#if ELEMENTS
    var out = vec4<f32>();
    for (var k = 0u; k < 4u; k++) {
        out[k] = turned(min(u * 4u + k, params.count - 1u));
    }
    store_y(u, out);
#else
    let length = 2u * params.half;
    let i = u % length;
    let at = angle(u / length) + i;
    let second = i >= params.half;
    let other = load_x(select(u + params.half, u - params.half, second));
    let sine = load_sine(at);
    store_y(u, load_cosine(at) * load_x(u) + select(-sine, sine, second) * other);
#endif
}
