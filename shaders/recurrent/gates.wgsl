// A layer of RNN (KIND 0), GRU (1) or LSTM (2) cells along sequences of one length, as recurrent/layer.wgsl defines them,
// with weights that are packed for it.
//
// Layout  products: x W of each element of a sequence, units of [direction, gate, unit]. r: units of [direction, element of
//         the state, gate, unit], zeros beyond the state. b: units of [direction, row, unit], the rows being a bias of each
//         gate, for LINEAR that of R h, then peepholes. First and last states and y: rows of whole units.
// Work    one workgroup takes a batch in a direction. At each step an invocation first sums units of gates, neighbours
//         reading neighbouring weights, then brings units of the state up to date.

#param steps: u32
#param hidden: u32
#param units: u32
#param reverse: u32
#param product_step: u32    // units
#param product_batch: u32
#param y_step: u32          // rows
#param y_batch: u32
#param y_direction: u32
#param state_batch: u32
#param state_direction: u32
#import recurrent/functions
#for i in 3
#param alpha{i}: f32
#param beta{i}: f32
#endfor
#read products
#read r
#if B_ROWS
#read b
#endif
#if INITIAL
#read first_hidden
#endif
#if MEMORY
#read first_memory
#endif
#write y
#if LAST_HIDDEN
#write last_hidden
#endif
#if LAST_MEMORY
#write last_memory
#endif

// Units that a state may have, and those of them that an invocation has.
const MOST = 128u;
const OWN = MOST / WORKGROUP;
// Gates that are summed in one go: the new state of a GRU waits for its reset gate.
#if TWICE
const AT_ONCE: u32 = GATES - 1;
#else
const AT_ONCE: u32 = GATES;
#endif

var<workgroup> sums: array<vec4<f32>, GATES * MOST>;
#if TWICE
// Behind the state, at MOST, the state through the reset gate.
var<workgroup> state: array<vec4<f32>, 2u * MOST>;
#else
var<workgroup> state: array<vec4<f32>, MOST>;
#endif

// The products of the state that begins at `start` with the weights of a gate's unit.
fn product(start: u32, weights: u32) -> vec4<f32> {
    let row = GATES * params.units;
    var sum = vec4<f32>();
    var at = weights;
    for (var k = 0u; k < params.units; k++) {
        let v = state[start + k];
        sum += v.x * load_r(at) + v.y * load_r(at + row) + v.z * load_r(at + 2u * row) + v.w * load_r(at + 3u * row);
        at += 4u * row;
    }
    return sum;
}

// A unit of a row of b.
fn added(direction: u32, row: u32, unit: u32) -> vec4<f32> {
#if B_ROWS
    return load_b((direction * B_ROWS + row) * params.units + unit);
#else
    return vec4<f32>();
#endif
}

// What the cell state adds to the sums of gates i, o and f.
fn peephole(direction: u32, gate: u32, unit: u32, memory: vec4<f32>) -> vec4<f32> {
#if PEEPHOLES
    return added(direction, GATES + gate, unit) * memory;
#else
    return vec4<f32>();
#endif
}

// The functions `f`, `g` and `h`: parts of the pipeline, since a software adapter runs every branch of a switch.
#for i in 3
fn function_{i}(x: vec4<f32>) -> vec4<f32> {
    return apply(FUNCTION{i}, params.alpha{i}, params.beta{i}, x);
}
#endfor

// A unit of a row, zeros beyond the state: what pads a row may be anything.
fn within(v: vec4<f32>, unit: u32) -> vec4<f32> {
    return select(vec4<f32>(), v, vec4<u32>(0u, 1u, 2u, 3u) + unit * 4u < vec4<u32>(params.hidden));
}

@compute @workgroup_size(WORKGROUP)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let batch = workgroup.x;
    let direction = workgroup.y;
    let units = params.units;
    let row = (batch * params.state_batch + direction * params.state_direction) * units;
    let backwards = params.reverse != 0u || direction == 1u;
    let weights = direction * units * 4u * GATES * units;
    var memory: array<vec4<f32>, OWN>;
    for (var k = 0u; k < OWN; k++) {
        let unit = local + k * WORKGROUP;
        if unit < units {
#if INITIAL
            state[unit] = within(load_first_hidden(row + unit), unit);
#else
            state[unit] = vec4<f32>();
#endif
#if MEMORY
            memory[k] = within(load_first_memory(row + unit), unit);
#endif
        }
    }
    workgroupBarrier();
    for (var s = 0u; s < params.steps; s++) {
        let step = select(s, params.steps - 1u - s, backwards);
        let base = step * params.product_step + batch * params.product_batch + direction * GATES * units;
        for (var at = local; at < AT_ONCE * units; at += WORKGROUP) {
            let gate = at / units;
            let unit = at - gate * units;
            var sum = product(0u, weights + at);
#if LINEAR
            if gate == 2u {
                sum += added(direction, 3u, unit);
            } else {
                sum += load_products(base + at) + added(direction, gate, unit);
            }
#else
            sum += load_products(base + at) + added(direction, gate, unit);
#endif
            sums[at] = sum;
        }
        workgroupBarrier();
#if TWICE
        for (var unit = local; unit < units; unit += WORKGROUP) {
            state[MOST + unit] = function_0(bounded(sums[units + unit])) * state[unit];
        }
        workgroupBarrier();
        for (var unit = local; unit < units; unit += WORKGROUP) {
            let at = 2u * units + unit;
            sums[at] = product(MOST, weights + at) + load_products(base + at) + added(direction, 2u, unit);
        }
        workgroupBarrier();
#endif
        for (var k = 0u; k < OWN; k++) {
            let unit = local + k * WORKGROUP;
            if unit < units {
                var next = vec4<f32>();
#if KIND == 0
                next = function_0(bounded(sums[unit]));
#endif
#if KIND == 1
                let kept = function_0(bounded(sums[unit]));
                var candidate = sums[2u * units + unit];
#if LINEAR
                let reset = function_0(bounded(sums[units + unit]));
                candidate = load_products(base + 2u * units + unit) + added(direction, 2u, unit) + reset * candidate;
#endif
                next = (1.0 - kept) * function_1(bounded(candidate)) + kept * state[unit];
#endif
#if KIND == 2
                let before = memory[k];
                let entering = function_0(bounded(sums[unit] + peephole(direction, 0u, unit, before)));
#if COUPLED
                let kept = 1.0 - entering;
#else
                let kept = function_0(bounded(sums[2u * units + unit] + peephole(direction, 2u, unit, before)));
#endif
                memory[k] = kept * before + entering * function_1(bounded(sums[3u * units + unit]));
                let leaving = function_0(bounded(sums[units + unit] + peephole(direction, 1u, unit, memory[k])));
                next = leaving * function_2(memory[k]);
#endif
                state[unit] = next;
                let to = step * params.y_step + batch * params.y_batch + direction * params.y_direction;
                store_y(to * units + unit, next);
            }
        }
        workgroupBarrier();
    }
    for (var k = 0u; k < OWN; k++) {
        let unit = local + k * WORKGROUP;
        if unit < units {
#if LAST_HIDDEN
            store_last_hidden(row + unit, state[unit]);
#endif
#if LAST_MEMORY
            store_last_memory(row + unit, memory[k]);
#endif
        }
    }
}
