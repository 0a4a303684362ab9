// The operands of an element-wise kernel: operands(u) gives of each, v0, v1, …, the four elements that belong to unit u of y.
//
// Layout  y: a dense tensor of the (physical) dims … d1, d0, innermost last. Operand k lies with stride s<k>_<i> along d<i>,
//         0 where it is repeated. Dims that all operands walk alike were joined, so that few are left.
//         FORM 2: all operands lie like y.  1: d0 is whole units, along which an operand is dense (step 1) or repeated
//         (step 0).  0: elements are fetched one by one.  3: the last two by one pipeline, as the parameter `whole` says
//         (1 or 0); its loops are branches that software adapters do take.

#if FORM == 3
#param whole: u32
#endif
#if FORM != 2
#param elements: u32
#for i in DIVIDED
#param d{i}: u32
#endfor
#for k in OPERANDS
#param s{k}_step: u32
#for i in DIVIDED
#param s{k}_{i}: u32
#endfor
#param s{k}_outer: u32
#endfor
#endif
#for k in OPERANDS
#read x{k}
#endfor
#write y

struct Operands {
#for k in OPERANDS
    v{k}: x{k}_unit,
#endfor
}

#if FORM != 2
// Where each operand has element e of y.
fn place(e: u32) -> array<u32, OPERANDS> {
    var at: array<u32, OPERANDS>;
    var rest = e;
#for i in DIVIDED
    let i{i} = rest % params.d{i};
    rest = rest / params.d{i};
#for k in OPERANDS
    at[{k}] += i{i} * params.s{k}_{i};
#endfor
#endfor
#for k in OPERANDS
    at[{k}] += rest * params.s{k}_outer;
#endfor
    return at;
}
#endif

fn operands(u: u32) -> Operands {
    var given: Operands;
#if FORM == 2
#for k in OPERANDS
    given.v{k} = load_x{k}(u);
#endfor
#else
#if FORM == 3
    for (var i = 0u; i < params.whole; i++) {
#endif
#if FORM != 0
        let at = place(u << 2u);
#for k in OPERANDS
        if params.s{k}_step == 0u {
            given.v{k} = splat_x{k}(get_x{k}(at[{k}]));
        } else {
            given.v{k} = load_x{k}(at[{k}] >> 2u);
        }
#endfor
#endif
#if FORM == 3
    }
    for (var j = 4u * params.whole; j < 4u; j++) {
#endif
#if FORM == 0
    for (var j = 0u; j < 4u; j++) {
#endif
#if FORM != 1
        // The last unit may reach beyond the tensor.
        let at = place(min((u << 2u) + j, params.elements - 1u));
#for k in OPERANDS
        given.v{k}[j] = get_x{k}(at[{k}]);
#endfor
    }
#endif
#endif
    return given;
}
