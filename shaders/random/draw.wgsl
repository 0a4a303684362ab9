// y = random numbers of a distribution: RandomUniform, RandomNormal, Bernoulli and Dropout's choice.
//
// FORM 0  uniform: a + b u
// FORM 1  normal: a + b z, with z = sqrt(-2 ln(1 - u)) (cos 2πv, sin 2πv) for two pairs (u, v) (Box and Muller, 1958)
// FORM 2  1 with the probability that x says, else 0
//
// Layout  dense.
// Work    one invocation takes one unit of y: the four words at its place.

#import common/index
#import random/philox
#param units: u32
#param key0: u32
#param key1: u32
#param a: f32
#param b: f32
#if FORM == 1
#import common/math
#endif
#if FORM == 2
#read x
#endif
#write y

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
#if FORM == 0
    store_y(unit, y_unit(fma(vec4<f32>(params.b), u, vec4<f32>(params.a))));
#endif
#if FORM == 1
    let radius = sqrt(-2.0 * log4(1.0 - vec4<f32>(u.xx, u.zz)));
    let angle = 6.28318531 * vec4<f32>(u.yy, u.ww);
    let z = radius * select(sin4(angle), cos4(angle), vec4<bool>(true, false, true, false));
    store_y(unit, y_unit(fma(vec4<f32>(params.b), z, vec4<f32>(params.a))));
#endif
#if FORM == 2
    store_y(unit, select(y_unit(), y_unit(1), u < vec4<f32>(load_x(unit))));
#endif
}
