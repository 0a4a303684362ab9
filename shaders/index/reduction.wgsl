// How an update meets what is there. REDUCTION: 0 in its place, 1 sum, 2 product, 3 the smaller, 4 the larger.
// The smaller and the larger of floats (FLOAT) are NaN where one of them is: by its bits, for WGSL may assume that there is none.

#if WIDE
#import common/wide

fn reduced(there: x_element, update: x_element) -> x_element {
#if REDUCTION == 0
    return update;
#endif
#if REDUCTION == 1
    return add64(there, update);
#endif
#if REDUCTION == 2
    return multiply64(there, update);
#endif
#if REDUCTION == 3
    return smaller64(there, update);
#endif
#if REDUCTION == 4
    return larger64(there, update);
#endif
}
#else
fn is_not_a_number(v: x_element) -> bool {
#if FLOAT
    return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
#else
    return false;
#endif
}

fn reduced(there: x_element, update: x_element) -> x_element {
#if REDUCTION == 0
    return update;
#endif
#if REDUCTION == 1
    return there + update;
#endif
#if REDUCTION == 2
    return there * update;
#endif
#if REDUCTION == 3
    return select(there, update, is_not_a_number(update) || (!is_not_a_number(there) && update < there));
#endif
#if REDUCTION == 4
    return select(there, update, is_not_a_number(update) || (!is_not_a_number(there) && update > there));
#endif
}
#endif
