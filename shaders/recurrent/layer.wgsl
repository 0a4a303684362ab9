// A layer of RNN (KIND 0), GRU (1) or LSTM (2) cells along sequences, from the products of its inputs with their weights:
//   RNN    h = f(a)
//   GRU    z, r = f(a), n = g(a of r ⊙ h, or of r ⊙ (R h + b) where LINEAR), h = (1 - z) ⊙ n + z ⊙ h
//   LSTM   i, o, k = f(a + p ⊙ c) (o of the new c), c = k ⊙ c + i ⊙ g(a), h = o ⊙ h(c)    (COUPLED: k = 1 - i)
// a being x W + h R + b of each gate, kept within `clip` where that is not 0.
//
// Layout  products: [direction, batch, step, gate, hidden], dense. r: [direction, gate, hidden, hidden], dense. p, dense
//         parts that begin at elements `…_at`: biases, peepholes, first states, lengths. y: whole units of a state each:
//         Y by steps of its rows, then the last states.
// Work    one workgroup takes a batch in a direction, each invocation some units of the state, which all of them share.

#param steps: u32
#param batches: u32
#param hidden: u32
#param reverse: u32
#param y_step: u32
#param y_batch: u32
#param y_direction: u32
#param state_batch: u32
#param state_direction: u32
#param hidden_to: u32       // units of y
#param memory_to: u32
#param bias_at: u32         // elements of p
#param peephole_at: u32
#param hidden_at: u32
#param memory_at: u32
#param length_at: u32
#import recurrent/functions
#for i in 6
#param function{i}: u32
#param alpha{i}: f32
#param beta{i}: f32
#endfor
#read products elements
#read r elements
#if PACKED
#read p elements
#endif
#write y

// Units of the state that an invocation may have.
const OWN = 4u;

var<workgroup> state: array<vec4<f32>, 256>;
#if KIND == 1
// The state through the reset gate.
var<workgroup> through: array<vec4<f32>, 256>;
#endif

// The elements of a unit of the state; padding repeats the last.
fn places(unit: u32) -> vec4<u32> {
    return min(vec4<u32>(0u, 1u, 2u, 3u) + unit * 4u, vec4<u32>(params.hidden - 1u));
}

// Function `f`, `g` or `h` of a direction: three of each. What `h` takes is no sum.
fn activated(which: u32, x: vec4<f32>) -> vec4<f32> {
    var function = 0u;
    var alpha = 0.0;
    var beta = 0.0;
#for i in 6
    if which == {i}u {
        function = params.function{i};
        alpha = params.alpha{i};
        beta = params.beta{i};
    }
#endfor
    return apply(function, alpha, beta, select(x, bounded(x), which % 3u != 2u));
}

#if PACKED
fn packed(at: u32, i: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(get_p(at + i.x), get_p(at + i.y), get_p(at + i.z), get_p(at + i.w));
}
#endif

// The input's part of a gate's sum, with its bias.
fn from_input(base: u32, direction: u32, gate: u32, unit: u32) -> vec4<f32> {
    let i = places(unit);
    let at = base + gate * params.hidden;
    var sum = vec4<f32>(get_products(at + i.x), get_products(at + i.y), get_products(at + i.z), get_products(at + i.w));
#if BIAS
    sum += packed(params.bias_at + (direction * 2u * GATES + gate) * params.hidden, i);
#endif
    return sum;
}

// The state's part of a gate's sum, with its bias; of the state through the reset gate where it is asked for.
fn from_state(direction: u32, gate: u32, unit: u32, reset: bool) -> vec4<f32> {
    let i = places(unit);
    let at = ((direction * GATES + gate) * params.hidden + i) * params.hidden;
    var sum = vec4<f32>(0.0);
    for (var k = 0u; k < params.hidden; k++) {
#if KIND == 1
        let v = select(state[k >> 2u][k & 3u], through[k >> 2u][k & 3u], reset);
#else
        let v = state[k >> 2u][k & 3u];
#endif
        sum += vec4<f32>(get_r(at.x + k), get_r(at.y + k), get_r(at.z + k), get_r(at.w + k)) * v;
    }
#if BIAS
    sum += packed(params.bias_at + ((direction * 2u + 1u) * GATES + gate) * params.hidden, i);
#endif
    return sum;
}

#if KIND == 2
// What the cell state adds to the sums of gates i, o and f.
fn peephole(direction: u32, gate: u32, unit: u32, memory: vec4<f32>) -> vec4<f32> {
#if PEEPHOLES
    return packed(params.peephole_at + (direction * 3u + gate) * params.hidden, places(unit)) * memory;
#else
    return vec4<f32>(0.0);
#endif
}
#endif

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let batch = workgroup.x;
    let direction = workgroup.y;
    let units = (params.hidden + 3u) / 4u;
    let row = batch * params.state_batch + direction * params.state_direction;
    let backwards = params.reverse != 0u || direction == 1u;
    let function = direction * 3u;
    var length = params.steps;
#if LENGTHS
    length = min(u32(max(get_p(params.length_at + batch), 0.0)), params.steps);
#endif
    var memory: array<vec4<f32>, OWN>;
    var next: array<vec4<f32>, OWN>;
    for (var k = 0u; k < OWN; k++) {
        let unit = local + k * WORKGROUP;
        if unit < units {
            var first = vec4<f32>(0.0);
#if INITIAL
            first = packed(params.hidden_at + row * params.hidden, places(unit));
#endif
            state[unit] = first;
            next[k] = first;
#if MEMORY
            memory[k] = packed(params.memory_at + row * params.hidden, places(unit));
#endif
        }
    }
    workgroupBarrier();
    for (var s = 0u; s < params.steps; s++) {
        let running = s < length;
        let step = select(s, length - 1u - s, running && backwards);
        let base = ((direction * params.batches + batch) * params.steps + step) * GATES * params.hidden;
#if KIND == 1
        if running {
            for (var k = 0u; k < OWN; k++) {
                let unit = local + k * WORKGROUP;
                if unit < units {
                    let reset = activated(function, from_input(base, direction, 1u, unit) + from_state(direction, 1u, unit, false));
#if LINEAR
                    through[unit] = reset;
#else
                    through[unit] = reset * state[unit];
#endif
                }
            }
        }
        workgroupBarrier();
#endif
        if running {
            for (var k = 0u; k < OWN; k++) {
                let unit = local + k * WORKGROUP;
                if unit < units {
#if KIND == 0
                    next[k] = activated(function, from_input(base, direction, 0u, unit) + from_state(direction, 0u, unit, false));
#endif
#if KIND == 1
                    let kept = activated(function, from_input(base, direction, 0u, unit) + from_state(direction, 0u, unit, false));
#if LINEAR
                    let old = through[unit] * from_state(direction, 2u, unit, false);
#else
                    let old = from_state(direction, 2u, unit, true);
#endif
                    let new_state = activated(function + 1u, from_input(base, direction, 2u, unit) + old);
                    next[k] = (1.0 - kept) * new_state + kept * state[unit];
#endif
#if KIND == 2
                    let before = memory[k];
                    let entering = activated(
                        function,
                        from_input(base, direction, 0u, unit) + from_state(direction, 0u, unit, false)
                            + peephole(direction, 0u, unit, before),
                    );
#if COUPLED
                    let kept = 1.0 - entering;
#else
                    let kept = activated(
                        function,
                        from_input(base, direction, 2u, unit) + from_state(direction, 2u, unit, false)
                            + peephole(direction, 2u, unit, before),
                    );
#endif
                    let candidate =
                        activated(function + 1u, from_input(base, direction, 3u, unit) + from_state(direction, 3u, unit, false));
                    memory[k] = kept * before + entering * candidate;
                    let leaving = activated(
                        function,
                        from_input(base, direction, 1u, unit) + from_state(direction, 1u, unit, false)
                            + peephole(direction, 1u, unit, memory[k]),
                    );
                    next[k] = leaving * activated(function + 2u, memory[k]);
#endif
                }
            }
        }
        workgroupBarrier();
        for (var k = 0u; k < OWN; k++) {
            let unit = local + k * WORKGROUP;
            if unit < units {
                state[unit] = next[k];
                let at = step * params.y_step + batch * params.y_batch + direction * params.y_direction;
                store_y(at * units + unit, select(vec4<f32>(0.0), next[k], running));
            }
        }
        workgroupBarrier();
    }
    for (var k = 0u; k < OWN; k++) {
        let unit = local + k * WORKGROUP;
        if unit < units {
            store_y(params.hidden_to + row * units + unit, next[k]);
#if KIND == 2
            store_y(params.memory_to + row * units + unit, memory[k]);
#endif
        }
    }
}
