// y = f(v0) or f(v0, v1) or f(v0, v1, v2), element by element, operands repeated along the dimensions that they lack.
// f is a program of up to eight steps, which stands in the parameters: each makes `v ∘ b` of the value so far, v, where b
// is a number, another operand or v itself. It begins with v0. So one pipeline serves all formulas.
//
// Program a step is eight bits of code0 and code1, the first one lowest: what it does (3 bits: v + b, v - b, v * b, v / b,
//         the smaller, the larger, sqrt(v)), whether v and b are exchanged (1), what b is (2: number<step>,
//         v1, v2, v).
// SINGLE  the program is one step: no loop, which would cost half as much again on a software adapter.
// CODE    that step is part of the pipeline, 1 more than its code: for large tensors, to which choosing costs a fifth there.
// Layout  see elementwise/operands.
// Work    one invocation takes one unit of y.

#import common/math
#import common/index
#param units: u32
#param steps: u32
#param code0: u32
#param code1: u32
#for i in 8
#param number{i}: f32
#endfor
#import elementwise/operands

// All results are computed and one is taken: on a software adapter that takes half the time of a switch.
fn step(code: u32, v: vec4<f32>, other: vec4<f32>) -> vec4<f32> {
    let swapped = (code & 8u) != 0u;
    let a = select(v, other, swapped);
    let b = select(other, v, swapped);
    let kind = code & 7u;
    var y = a + b;
    y = select(y, a - b, kind == 1u);
    y = select(y, a * b, kind == 2u);
    y = select(y, a / b, kind == 3u);
    // A NaN stays, whichever of the two it is.
    y = select(y, select(b, a, (a < b) | is_nan4(a)), kind == 4u);
    y = select(y, select(b, a, (a > b) | is_nan4(a)), kind == 5u);
    y = select(y, sqrt4(v), kind == 6u);
    return y;
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
    let given = operands(u);
    var v = given.v0;
#if SINGLE
#if CODE
    let code0 = u32(CODE - 1);
#else
    let code0 = params.code0;
#endif
    let number = params.number0;
#else
    var code0 = params.code0;
    var code1 = params.code1;
#for i in 8
    var n{i} = params.number{i};
#endfor
    for (var s = 0u; s < params.steps; s++) {
        let number = n0;
#endif
        let source = (code0 >> 4u) & 3u;
        var other = vec4<f32>(number);
#if OPERANDS != 1
        other = select(other, given.v1, source == 1u);
#endif
#if OPERANDS == 3
        other = select(other, given.v2, source == 2u);
#endif
        other = select(other, v, source == 3u);
        v = step(code0, v, other);
#if !SINGLE
        // The next step and its number.
        code0 = (code0 >> 8u) | (code1 << 24u);
        code1 = code1 >> 8u;
        n0 = n1;
        n1 = n2;
        n2 = n3;
        n3 = n4;
        n4 = n5;
        n5 = n6;
        n6 = n7;
    }
#endif
    store_y(u, v);
}
